"""Every number that shapes the model, in one tree; saved as JSON beside the weights.

`tiny` is for tests, `small` is trained from scratch and runs on a laptop's processor, `base` is
SmolVLA-450M with the 4M-21 B encoder, `smolvla` is the plain SmolVLA of `lerobot/smolvla_base`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multismolvla.checked_file import json_value, load_checked
from multismolvla.embodiment.description import Embodiment
from multismolvla.modalities.modality import ModalityError
from multismolvla.policy.solvers import SOLVERS
from multismolvla.streams import Stream

FILE_NAME = "multismolvla.json"
# Numbers of the gripper's pose in a state: grip point 3, rotation 9. See `gripper_frame.py`.
GRIPPER_POSE = 12
STEMS = ("linear",)
FUSIONS = ("late", "early")


class ConfigError(ValueError):
    """The configuration is wrong; the message names file, key, value and what was expected."""


@dataclass(frozen=True)
class TextConfig:
    """SmolLM2, a Llama: RMSNorm, grouped-query attention with rotary positions, SwiGLU.

    `rope_base` is 10 000 in SmolVLA, not the 100 000 of the language model it starts from.
    """

    hidden_size: int = 960
    layers: int = 16
    heads: int = 15
    kv_heads: int = 5
    head_dim: int = 64
    intermediate_size: int = 2560
    vocab_size: int = 49280
    rms_norm_eps: float = 1e-5
    rope_base: float = 10_000.0


@dataclass(frozen=True)
class SiglipConfig:
    """SigLIP vision tower, and the pixel shuffle that folds `shuffle`^2 patches into a token."""

    hidden_size: int = 768
    layers: int = 12
    heads: int = 12
    intermediate_size: int = 3072
    image_size: int = 512
    patch_size: int = 16
    layer_norm_eps: float = 1e-6
    shuffle: int = 4


@dataclass(frozen=True)
class FourMConfig:
    """4M-21 encoder: pre-norm, SwiGLU, no biases.

    Every stream gives a grid of `image_size / patch_size` squared tokens of `dim` channels.

    Attributes:
        stem: how pixels become tokens: `linear`, one map per patch, as in 4M-21.
        fusion: where the streams of a view, whose grids cover the same frame, become one grid:
            `late`, behind the transformer, as in 4M-21, or `early`, before it, at a quarter of the
            cost for four streams.
    """

    dim: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    image_size: int = 224
    patch_size: int = 16
    layer_norm_eps: float = 1e-6
    stem: str = "linear"
    fusion: str = "late"


@dataclass(frozen=True)
class ExpertConfig:
    """Action expert: as many layers as the text model, narrower.

    Every `self_attention_every`-th layer, the first included, attends to the actions as well; the
    others attend to the prefix alone. The periods are those of the flow time's sinusoids.
    """

    hidden_size: int = 720
    intermediate_size: int = 2048
    self_attention_every: int = 2
    min_period: float = 0.004
    max_period: float = 4.0


@dataclass(frozen=True)
class PolicyConfig:
    """The whole model.

    Attributes:
        encoder: `siglip` (plain SmolVLA) or `fourm` (MultiSmolVLA).
        streams: the stream table, whose order is the order of mask and slots. With `siglip` each
            is one RGB camera and one view.
        tokens_per_view: tokens of the language model that a view becomes.
        max_state_dim, max_action_dim: widths that states and actions are padded to.
        chunk_size: actions of a chunk; `period_s` lies between two of them.
        max_language_tokens: longer instructions are an error.
        denoising_steps: steps of the flow from noise to actions, of `solver`, a name in `SOLVERS`.
        joints: names of the numbers of a state, in order; other arms are refused.
        actions: names of the numbers of an action; empty where they are those of `joints`.
        relative_joints: joints whose actions are offsets from the measured state; the others'
            are angles. The statistics of the actions are then kept per row of the chunk.
        objects: whose poses the model estimates, one token each; see `object_tokens.py`.
            Only with `fourm`. The state then has the gripper's pose as well.
        instructed: the instruction says which things the objects are: `grasp` is what is to be
            grasped now. The queries then depend on it.
        view_tokens: the language model reads the tokens of the views. Without them it reads what
            the object tokens say alone, at a fraction of the cost.
    """

    encoder: str = "fourm"
    text: TextConfig = field(default_factory=TextConfig)
    siglip: SiglipConfig | None = None
    fourm: FourMConfig | None = None
    expert: ExpertConfig = field(default_factory=ExpertConfig)
    streams: tuple[Stream, ...] = ()
    tokens_per_view: int = 64
    max_state_dim: int = 32
    max_action_dim: int = 32
    chunk_size: int = 50
    period_s: float = 1 / 30
    max_language_tokens: int = 48
    denoising_steps: int = 10
    solver: str = "euler"
    joints: tuple[str, ...] = ()
    relative_joints: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    view_tokens: bool = True
    actions: tuple[str, ...] = ()
    instructed: bool = False

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the numbers of an action."""
        return self.actions or self.joints

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views, in the order of their first stream."""
        if self.encoder == "siglip":
            return tuple(stream.name for stream in self.streams)
        return tuple(dict.fromkeys(stream.view for stream in self.streams))

    def __post_init__(self) -> None:
        def need(condition: bool, key: str, value: object, expected: str) -> None:
            if not condition:
                raise ConfigError(f"{key} is {value!r}; expected {expected}")

        need(self.encoder in ("siglip", "fourm"), "encoder", self.encoder, "'siglip' or 'fourm'")
        part = getattr(self, self.encoder)
        need(part is not None, self.encoder, part, f"the sizes of the {self.encoder} encoder")
        need(len(self.streams) > 0, "streams", self.streams, "at least one stream")
        names = [stream.name for stream in self.streams]
        need(len(set(names)) == len(names), "streams", names, "different names")
        for stream in self.streams:
            try:
                colours = stream.modality.channels == 3
            except ModalityError as error:
                raise ConfigError(f"{stream.name}: {error}") from None
            if self.encoder == "siglip":
                need(colours, f"{stream.name}.kind", stream.kind, "'rgb' with siglip")
        need(part.patch_size > 0, "patch_size", part.patch_size, "a positive number")
        need(part.image_size % part.patch_size == 0, "image_size", part.image_size, "whole patches")
        if self.fourm is not None:
            need(self.fourm.stem in STEMS, "fourm.stem", self.fourm.stem, " or ".join(STEMS))
            fusion = self.fourm.fusion
            need(fusion in FUSIONS, "fourm.fusion", fusion, " or ".join(FUSIONS))
        for key in ("chunk_size", "denoising_steps", "max_language_tokens", "tokens_per_view"):
            need(getattr(self, key) > 0, key, getattr(self, key), "a positive number")
        need(self.solver in SOLVERS, "solver", self.solver, f"one of {', '.join(SOLVERS)}")
        need(self.period_s > 0, "period_s", self.period_s, "a positive time in seconds")
        need(
            self.text.kv_heads > 0 and self.text.heads % self.text.kv_heads == 0,
            "text.kv_heads",
            self.text.kv_heads,
            f"a divisor of the {self.text.heads} heads",
        )
        need(len(self.joints) > 0, "joints", self.joints, "the names of the arm's joints")
        for key, names in (("max_state_dim", self.joints), ("max_action_dim", self.action_names)):
            count = len(names)
            need(getattr(self, key) >= count, key, getattr(self, key), f"at least {count}")
        if self.objects:
            width = len(self.joints) + GRIPPER_POSE
            need(
                self.max_state_dim >= width, "max_state_dim", self.max_state_dim, f"{width} or more"
            )
        need(bool(self.objects) or not self.instructed, "instructed", True, "false without objects")
        need(
            self.view_tokens or bool(self.objects),
            "view_tokens",
            self.view_tokens,
            "true if there are no objects",
        )
        for joint in self.relative_joints:
            need(joint in self.joints, "relative_joints", joint, f"one of {', '.join(self.joints)}")
        same = self.action_names == self.joints
        need(same or not self.relative_joints, "relative_joints", self.relative_joints, "none")

    def save(self, folder: str | Path) -> None:
        """Write `multismolvla.json` into `folder`."""
        (Path(folder) / FILE_NAME).write_text(json.dumps(self.content(), indent=2) + "\n")

    def content(self) -> dict[str, Any]:
        """What is saved: everything, but for what is younger than the first checkpoints and says
        nothing here."""
        content = dataclasses.asdict(self)
        return {key: value for key, value in content.items() if value or key not in _MAY_BE_MISSING}


# Key -> what a checkpoint that does not have it means; see `PolicyConfig.content`.
_MAY_BE_MISSING: dict[str, Any] = {"actions": [], "instructed": False}


def load_config(folder: str | Path) -> PolicyConfig:
    """Read and check the configuration of a checkpoint.

    Raises:
        ConfigError: the file is missing, is not JSON, or has an unknown, missing or wrong key.
    """
    path = Path(folder) / FILE_NAME

    def parse(text: str) -> Any:
        content = json_value(text)
        return {**_MAY_BE_MISSING, **content} if isinstance(content, dict) else content

    config = load_checked(path, PolicyConfig, ConfigError, "it", parse, complete=True)
    try:
        _need_sizes(dataclasses.asdict(config))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def _need_sizes(value: object, key: str = "") -> None:
    """No size or constant of the tree may be zero, negative, infinite or NaN."""
    if isinstance(value, dict):
        for name, item in value.items():
            _need_sizes(item, f"{key}.{name}" if key else name)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            _need_sizes(item, f"{key}[{index}]")
    elif type(value) in (int, float) and not 0 < value < 2**31:
        raise ConfigError(f"{key} is {value!r}; expected a positive number")


# Presets: of the streams and of the objects that the data know, see `PolicyConfig`.


def _names(arm: Embodiment) -> dict[str, Any]:
    other = arm.action_names != arm.state_names
    return {
        "joints": arm.state_names,
        "actions": arm.action_names if other else (),
        "period_s": arm.action_space.period_s,
    }


def _widths(arm: Embodiment) -> dict[str, Any]:
    """No wider than this arm needs."""
    state, action = len(arm.state_names) + GRIPPER_POSE, len(arm.action_names)
    return {**_names(arm), "max_state_dim": state, "max_action_dim": action}


def tiny(
    streams: tuple[Stream, ...], arm: Embodiment, objects: tuple[str, ...] = ()
) -> PolicyConfig:
    """Under 1 M parameters; for tests."""
    return PolicyConfig(
        encoder="fourm",
        text=TextConfig(64, 2, 4, 2, 16, 128, 512),
        fourm=FourMConfig(dim=48, depth=2, heads=4, image_size=32, patch_size=8),
        expert=ExpertConfig(48, 96),
        streams=streams,
        tokens_per_view=16,
        **_widths(arm),
        chunk_size=10,
        objects=objects,
    )


def small(
    streams: tuple[Stream, ...], arm: Embodiment, objects: tuple[str, ...] = ()
) -> PolicyConfig:
    """Under 10 M parameters, from scratch, with its own tokenizer; 96 px streams.

    Without objects to estimate, everything must come from the view tokens.
    """
    return PolicyConfig(
        encoder="fourm",
        text=TextConfig(256, 4, 8, 4, 32, 768, 1024),
        fourm=FourMConfig(dim=192, depth=4, heads=6, image_size=96, patch_size=12, fusion="early"),
        expert=ExpertConfig(192, 512),
        streams=streams,
        tokens_per_view=64,
        **_widths(arm),
        objects=objects,
        view_tokens=not objects,
        # Half the evaluations of ten of Euler, and 4 % farther from the right actions where that
        # was measured: docs/model.md.
        denoising_steps=5,
        solver="adams_bashforth",
    )


def base(
    streams: tuple[Stream, ...], arm: Embodiment, objects: tuple[str, ...] = ()
) -> PolicyConfig:
    """SmolVLA-450M whose vision tower is the 4M-21 B encoder."""
    return PolicyConfig(
        encoder="fourm", fourm=FourMConfig(), streams=streams, objects=objects, **_names(arm)
    )


def smolvla(
    streams: tuple[Stream, ...], arm: Embodiment, objects: tuple[str, ...] = ()
) -> PolicyConfig:
    """The sizes of `lerobot/smolvla_base`; every stream is an RGB camera."""
    return PolicyConfig(
        encoder="siglip", siglip=SiglipConfig(), streams=streams, objects=objects, **_names(arm)
    )


PRESETS = {"tiny": tiny, "small": small, "base": base, "smolvla": smolvla}
