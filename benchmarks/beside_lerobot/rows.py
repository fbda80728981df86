"""The rows of the policy bench: which model, in which situation, has to reach what.

Rows of a comparison are timed in turn, chunk by chunk, and held to LeRobot's row if it has one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from beside_lerobot.worker import FRAMES
from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.modalities.registry import kinds
from multismolvla.policy.checkpoint import save_checkpoint
from multismolvla.policy.config import (
    ExpertConfig,
    PolicyConfig,
    SiglipConfig,
    TextConfig,
    base,
    small,
    smolvla,
    tiny,
)
from multismolvla.policy.dry_run import synthetic_observation
from multismolvla.policy.fast_linear import PRECISIONS
from multismolvla.policy.lerobot_checkpoint import VLM_NAME, save_lerobot
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.preprocessing import prepare_frame
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.processor import Processor, read_processor
from multismolvla.sim.layout import SHAPES
from multismolvla.streams import Stream

# Comparisons. LeRobot takes part in those that are named for a number of cameras.
CAMERAS = ("1 camera", "2 cameras")
SMALL, START = "small", "start"
COMPARISONS = (*CAMERAS, SMALL, START)
SEED = 0
# "put the red cube in the bin" and its newline are some ten tokens.
WORDS = 10
# Frames differ from chunk to chunk, as a camera's do, so that nothing remembered is timed.
VARIANTS = 4
# SmolVLM2 has 32 layers, of which SmolVLA uses the first 16.
LANGUAGE_MODEL_LAYERS = 32


@dataclass(frozen=True)
class Target:
    """What a row has to reach.

    Attributes:
        quantity: attribute of a `Measurement`.
        limit: the worst value that will do.
        more_is_better: whether the limit is the lowest or the highest such value.
    """

    quantity: str
    limit: float
    more_is_better: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.more_is_better else value <= self.limit


@dataclass(frozen=True)
class Row:
    """One model in one situation.

    Attributes:
        worker: options of `worker.py`; rows with the same ones share a process.
        inputs: its files of inputs, used in turn.
        same_model: whether LeRobot's row should give the same actions.
        optional: whether it is left out, not fatal, where this machine cannot run it.
    """

    name: str
    worker: dict[str, Any]
    inputs: tuple[Path, ...]
    targets: tuple[Target, ...] = ()
    same_model: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Comparison:
    """Rows that are timed together, `rounds` times."""

    name: str
    rows: tuple[Row, ...]
    rounds: int


def comparisons(
    work: Path, names: Sequence[str], *, rounds: int, quick: bool, lerobot: bool
) -> Iterator[Comparison]:
    """What is to be timed; weights and inputs are written under `work` as each one's turn comes.

    Args:
        names: some of `COMPARISONS`.
        rounds: chunks of every large model; small ones compute ten times as many.
        quick: tiny models in place of the large ones.
        lerobot: whether LeRobot takes part.
    """
    for cameras, name in enumerate(CAMERAS, start=1):
        if name in names:
            yield _cameras(work, cameras, rounds=rounds, quick=quick, lerobot=lerobot)
    if SMALL in names:
        yield _small(work / "small", 10 * rounds)


def bfloat16_targets(processor: Processor) -> tuple[Target, ...]:
    """AMX multiplies bfloat16 in tiles; AVX-512 BF16 alone has half the speed of that at best."""
    exact = Target("difference", 1e-2)
    return (Target("speed", 3.0, True), exact) if processor.has_amx_bfloat16 else (exact,)


def start_worker(work: Path) -> dict[str, Any]:
    """Write a checkpoint of `small` under `work`; the worker that loads it and acts once."""
    config = small(_streams(("", "wrist/"), kinds()), SO101, tuple(SHAPES))
    torch.manual_seed(SEED)
    tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
    folder = work / "checkpoint"
    model, normalizer = MultiSmolVLA(config, KINEMATICS), Normalizer(config, KINEMATICS)
    save_checkpoint(folder, model, config, tokenizer, normalizer)
    return {"side": "first_action", "folder": str(folder)}


def _cameras(work: Path, cameras: int, *, rounds: int, quick: bool, lerobot: bool) -> Comparison:
    """SmolVLA with one or two cameras; beside the two, `base` with at least as many frames."""
    folder = work / f"smolvla-{cameras}"
    streams = _streams([f"camera{i + 1}/" for i in range(cameras)], ("rgb",), 480, 640)
    config = _tiny_smolvla(streams) if quick else smolvla(streams, SO101)
    torch.manual_seed(SEED)
    save_lerobot(folder, MultiSmolVLA(config), Normalizer(config))
    (folder / "language_model").mkdir()
    # Where LeRobot reads it, in place of the hub, and where we do.
    for path in (folder / "language_model" / "config.json", folder / "vlm_config.json"):
        path.write_text(json.dumps(_smolvlm(config), indent=2))
    inputs = _inputs(folder / "inputs", config, [stream.name for stream in streams])
    what = CAMERAS[cameras - 1]

    ours = {"side": "checkpoint", "folder": str(folder)}
    no_more_memory = Target("memory", 1.0)
    rows = [
        Row(
            f"siglip float32, {what}",
            {**ours, "precision": "float32"},
            inputs,
            (Target("speed", 1.4, True), Target("difference", 1e-4), no_more_memory),
            same_model=True,
        ),
        Row(
            f"siglip int8, {what}",
            {**ours, "precision": "int8"},
            inputs,
            (Target("speed", 2.5, True), Target("difference", 1e-2), no_more_memory),
            same_model=True,
            # Its operators are for x86 processors.
            optional=True,
        ),
        Row(
            f"siglip bfloat16, {what}",
            {**ours, "precision": "bfloat16"},
            inputs,
            (*bfloat16_targets(read_processor()), no_more_memory),
            same_model=True,
            optional=True,
        ),
    ]
    if lerobot:
        language_model = str(folder / "language_model")
        theirs = {"side": "lerobot", "folder": str(folder), "language_model": language_model}
        rows.insert(0, Row(f"LeRobot, {what}", theirs, inputs, optional=True))
    if cameras == 2:
        rows.append(_base(work / "base", quick))
    return Comparison(what, tuple(rows), rounds)


def _small(folder: Path, rounds: int) -> Comparison:
    streams = _streams(("", "wrist/"), kinds())
    config = small(streams, SO101, tuple(SHAPES))
    folder.mkdir()
    config.save(folder)
    everything = [stream.name for stream in streams]
    # With two thirds masked 2.7 would be left.
    situations = {
        "8 streams of 96 px": (_inputs(folder / "all", config, everything), 0.060),
        "3 of its 8 streams": (
            _inputs(folder / "three", config, ("rgb", "depth", "wrist/rgb")),
            0.025,
        ),
        "2 of its 8 streams": (_inputs(folder / "two", config, ("rgb", "wrist/depth")), 0.025),
    }
    rows = []
    for precision in PRECISIONS:
        worker = {"side": "random_weights", "config": str(folder), "seed": SEED}
        worker["precision"] = precision
        rows += [
            Row(
                f"small {precision}, {what}",
                worker,
                inputs,
                (Target("median_s", limit),),
                optional=precision != "float32",
            )
            for what, (inputs, limit) in situations.items()
        ]
    return Comparison(SMALL, tuple(rows), rounds)


def _base(folder: Path, quick: bool) -> Row:
    streams = _streams(("",), kinds())
    config = tiny(streams, SO101) if quick else base(streams, SO101)
    folder.mkdir()
    config.save(folder)
    worker = {"side": "random_weights", "config": str(folder), "seed": SEED, "precision": "float32"}
    inputs = _inputs(folder / "inputs", config, [stream.name for stream in streams])
    return Row("base float32, 4 modalities", worker, inputs, (Target("speed", 1.0, True),))


def _streams(
    views: Sequence[str], kinds: Sequence[str], height: int = 96, width: int = 96
) -> tuple[Stream, ...]:
    return tuple(
        Stream(f"{view}{kind}", kind, height, width, 15.0, "camera_optical_frame")
        for view in views
        for kind in kinds
    )


def _inputs(folder: Path, config: PolicyConfig, usable: Sequence[str]) -> tuple[Path, ...]:
    """Write files of made-up inputs, the frames of `usable` prepared."""
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    generator = torch.Generator().manual_seed(SEED)
    paths = []
    for variant in range(VARIANTS):
        frames = synthetic_observation(config.streams, usable, rng, SO101.home_rad).frames
        tensors: dict[str, Tensor] = {
            FRAMES + s.name: prepare_frame(s, frames[s.name], config)[None].contiguous()
            for s in config.streams
            if s.name in usable
        }
        # Ids below 3 begin, end and pad; those at the end of SmolVLM's vocabulary stand for images.
        words = min(config.text.vocab_size, 49152)
        tensors["language"] = torch.randint(3, words, (1, WORDS), generator=generator)
        tensors["state"] = torch.zeros(1, config.max_state_dim)
        tensors["state"][:, : len(config.joints)].normal_(generator=generator)
        noise = (1, config.chunk_size, config.max_action_dim)
        tensors["noise"] = torch.randn(noise, generator=generator)
        paths.append(folder / f"{variant}.safetensors")
        save_file(tensors, paths[-1])
    return tuple(paths)


def _tiny_smolvla(streams: tuple[Stream, ...]) -> PolicyConfig:
    """Small enough for tests, and of sizes that LeRobot can build too."""
    return replace(
        smolvla(streams, SO101),
        text=TextConfig(96, 4, 6, 2, 16, 256, 512),
        siglip=SiglipConfig(48, 2, 4, 96, 64, 16, shuffle=2),
        expert=ExpertConfig(72, 256),
        tokens_per_view=4,
        chunk_size=10,
    )


def _smolvlm(config: PolicyConfig) -> dict[str, Any]:
    """The `config.json` of a SmolVLM with these sizes, as `transformers` reads it."""
    text, vision = config.text, config.siglip
    assert vision is not None
    return {
        "architectures": ["SmolVLMForConditionalGeneration"],
        "model_type": "smolvlm",
        "_name_or_path": VLM_NAME,
        "image_token_id": min(49190, text.vocab_size - 1),
        "pad_token_id": 2,
        "scale_factor": vision.shuffle,
        "tie_word_embeddings": False,
        "vocab_size": text.vocab_size,
        "text_config": {
            "model_type": "llama",
            "head_dim": text.head_dim,
            "hidden_size": text.hidden_size,
            "intermediate_size": text.intermediate_size,
            "num_attention_heads": text.heads,
            "num_key_value_heads": text.kv_heads,
            "num_hidden_layers": LANGUAGE_MODEL_LAYERS,
            "rms_norm_eps": text.rms_norm_eps,
            "pad_token_id": 2,
            "vocab_size": text.vocab_size,
        },
        "vision_config": {
            "model_type": "smolvlm_vision",
            "hidden_size": vision.hidden_size,
            "intermediate_size": vision.intermediate_size,
            "num_hidden_layers": vision.layers,
            "num_attention_heads": vision.heads,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "layer_norm_eps": vision.layer_norm_eps,
        },
    }
