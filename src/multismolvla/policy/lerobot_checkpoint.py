"""Checkpoints of LeRobot's SmolVLA, read and written in its layout (LeRobot 0.3 to 0.6).

A folder holds `config.json` (type `smolvla`), `model.safetensors` in bfloat16 but for a few parts,
and the statistics of `policy_preprocessor.json` and `policy_postprocessor.json`, which before 0.4
were among the weights. Each of these has its module: `lerobot_config`, `lerobot_weights`,
`lerobot_pipeline`, `lerobot_normalization`; `lerobot_inspection` tells all that is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from multismolvla.doctor import Finding, errors
from multismolvla.embodiment.description import Embodiment
from multismolvla.policy.checkpoint import Unfilled
from multismolvla.policy.config import ConfigError, ExpertConfig, PolicyConfig
from multismolvla.policy.lerobot_config import (
    CAMERA_PREFIX,
    FILE_NAME,
    LeRobotCheckpointError,
    line,
    read_json,
)
from multismolvla.policy.lerobot_inspection import (
    VLM_FILE,
    Inspection,
    inspect,
    read_statistics,
)
from multismolvla.policy.lerobot_normalization import StatisticsChoice
from multismolvla.policy.lerobot_weights import (
    WEIGHTS,
    difference,
    dtype_of,
    is_weight,
    ours,
    text_sizes,
    theirs,
    vision_sizes,
)
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.streams import Stream

NORMALIZER = "policy_preprocessor_step_5_normalizer_processor.safetensors"
UNNORMALIZER = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
VLM_NAME = "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"


def is_lerobot(folder: Path) -> bool:
    """Whether the folder holds a policy of LeRobot."""
    return (folder / FILE_NAME).is_file()


def load_lerobot(
    folder: str | Path,
    embodiment: Embodiment,
    *,
    cameras: Mapping[str, str] | None = None,
    rate_hz: float | None = None,
    units: str = "",
    statistics: str = "",
    travel_rad: np.ndarray | None = None,
    weights_only: bool = False,
) -> tuple[MultiSmolVLA, Normalizer]:
    """Load a SmolVLA checkpoint of LeRobot; weights become float32.

    Args:
        folder: a local folder.
        embodiment: the arm that it is to move.
        cameras: LeRobot's camera -> our stream, for example `{"camera1": "rgb"}`; in the order of
            the checkpoint. One that is left out has the arm's name for it (`Embodiment.lerobot`),
            else `camera1` becomes the stream `camera1/rgb`.
        rate_hz: actions per second of its training data, which no file contains; None is what is
            usual for the arm.
        units: of its statistics, one of `lerobot_units.UNITS`; empty where they leave no doubt.
        statistics: name of the data set whose statistics are used, where there are several.
        travel_rad: (J,) calibrated travel, needed for the unit `normalized`.
        weights_only: for training: the statistics are neither read nor needed.

    Raises:
        LeRobotCheckpointError: a file is missing or damaged, the policy is of another type, it
            needs what this stack does not do, its states or actions have another size than the
            arm's, or its statistics are missing or of an unknown unit.
    """
    folder = Path(folder)
    found: list[Finding] = []
    inspection = inspect(folder, embodiment, found)
    _raise_first(found)
    assert inspection is not None
    config = policy_config(inspection, embodiment, cameras or {}, rate_hz)
    model = build(inspection, config, embodiment)
    if weights_only:
        return model, Normalizer(config)
    choice = StatisticsChoice(units, statistics, travel_rad)
    normalisation = read_statistics(inspection, embodiment, choice, found)
    _raise_first(found)
    assert normalisation.arguments is not None
    return model, Normalizer(config, **normalisation.arguments)


def _raise_first(found: list[Finding]) -> None:
    for finding in errors(found):
        raise LeRobotCheckpointError(line(finding))


def build(inspection: Inspection, config: PolicyConfig, embodiment: Embodiment) -> MultiSmolVLA:
    """The model with the weights.

    Raises:
        LeRobotCheckpointError: they do not fit.
    """
    weights = {ours(n): tensor.float() for n, tensor in inspection.tensors.items() if is_weight(n)}
    with Unfilled():
        model = MultiSmolVLA(config, embodiment.kinematics)
    problem = difference(model.state_dict(), weights)
    if problem:
        raise LeRobotCheckpointError(f"{inspection.folder / WEIGHTS}: {problem}")
    model.load_state_dict(weights, assign=True)
    return model


def policy_config(
    inspection: Inspection,
    embodiment: Embodiment,
    cameras: Mapping[str, str],
    rate_hz: float | None = None,
) -> PolicyConfig:
    """The configuration of the model that the weights fit; cameras and rate as in `load_lerobot`.

    Raises:
        LeRobotCheckpointError: there is none; see `load_lerobot`.
    """
    folder, config = inspection.folder, inspection.config
    where = folder / FILE_NAME
    vlm = read_json(folder / VLM_FILE) if (folder / VLM_FILE).is_file() else {}
    shapes = {ours(n): tensor.shape for n, tensor in inspection.tensors.items() if is_weight(n)}

    def shape(name: str) -> torch.Size:
        if name not in shapes:
            raise LeRobotCheckpointError(f"{folder / WEIGHTS}: missing tensor '{theirs(name)}'")
        return shapes[name]

    values = config.values
    text = text_sizes(shape, shapes, _of_vlm(folder, vlm, "text_config", "head_dim", 64))
    heads = _of_vlm(folder, vlm, "vision_config", "num_attention_heads", 12)
    siglip = vision_sizes(shape, shapes, heads)
    size = siglip.image_size
    if config.image_size not in (None, size):
        raise LeRobotCheckpointError(
            f"{where}: resize_imgs_with_padding is {values['resize_imgs_with_padding']}; expected "
            f"{[size, size]}, as the encoder's positions are"
        )
    rate_hz = rate_hz or 1.0 / embodiment.action_space.period_s
    usual = {camera: stream for stream, camera in embodiment.lerobot.cameras}
    usual = {camera: usual[camera] for camera in inspection.cameras if camera in usual}
    streams = []
    for camera, stream in _views(inspection, usual | dict(cameras), where):
        _, height, width = config.cameras[camera]
        if config.image_size is None and (height, width) != (size, size):
            raise LeRobotCheckpointError(
                f"{where}: resize_imgs_with_padding is null and {CAMERA_PREFIX}{camera} is "
                f"{height} x {width}; expected {size} x {size}, as the encoder's positions are"
            )
        streams.append(Stream(stream, "rgb", size, size, rate_hz, "camera"))
    try:
        return PolicyConfig(
            encoder="siglip",
            text=text,
            joints=embodiment.state_names,
            actions=() if embodiment.commands_joints else embodiment.action_names,
            siglip=siglip,
            expert=ExpertConfig(
                hidden_size=shape("action_in_proj.weight")[0],
                intermediate_size=shape("expert.layers.0.mlp.gate_proj.weight")[0],
                self_attention_every=values["self_attn_every_n_layers"],
                min_period=float(values["min_period"]),
                max_period=float(values["max_period"]),
            ),
            streams=tuple(streams),
            tokens_per_view=(size // siglip.patch_size // siglip.shuffle) ** 2,
            max_state_dim=values["max_state_dim"],
            max_action_dim=values["max_action_dim"],
            chunk_size=values["chunk_size"],
            period_s=1.0 / rate_hz,
            max_language_tokens=values["tokenizer_max_length"],
            denoising_steps=values["num_steps"],
        )
    except ConfigError as cause:
        raise LeRobotCheckpointError(f"{where}: {cause}") from None


def _of_vlm(folder: Path, vlm: Mapping, part: str, key: str, default: int) -> int:
    """A size of the language model that its weights do not tell."""
    sizes = vlm.get(part, {})
    value = sizes.get(key, default) if isinstance(sizes, dict) else None
    if type(value) is not int or value < 1:
        raise LeRobotCheckpointError(
            f"{folder / VLM_FILE}: {part}.{key} is {value!r}; expected a whole number"
        )
    return value


def _views(
    inspection: Inspection, given: Mapping[str, str], where: Path
) -> Iterator[tuple[str, str]]:
    """(camera of the policy, our stream) in the policy's order; `given` may name the camera as the
    policy does, or as the data did before they were renamed."""
    known = {*inspection.cameras, *inspection.cameras.values()}
    for camera in given:
        if camera not in known:
            raise LeRobotCheckpointError(
                f"{where}: there is no camera '{camera}'; it has {', '.join(inspection.cameras)}"
            )
    for old, new in inspection.cameras.items():
        yield new, given.get(old) or given.get(new) or f"{old}/rgb"


def save_lerobot(folder: str | Path, model: MultiSmolVLA, normalizer: Normalizer) -> None:
    """Write a folder that LeRobot loads as `smolvla`, statistics in radians.

    The language model's output layer, which no action needs, is left out.

    Raises:
        ValueError: the model is no plain SmolVLA.
    """
    config = model.config
    if config.encoder != "siglip":
        raise ValueError("LeRobot's layout holds a plain SmolVLA; this model's encoder is fourm")
    assert config.siglip is not None
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {theirs(name): tensor for name, tensor in model.state_dict().items()}
    tensors = {name: t.to(dtype_of(name)).contiguous().clone() for name, t in weights.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    size = config.siglip.image_size
    inputs: dict[str, dict] = {
        CAMERA_PREFIX + (stream.view or stream.name): {
            "type": "VISUAL",
            "shape": [3, stream.height, stream.width],
        }
        for stream in config.streams
    }
    inputs["observation.state"] = {"type": "STATE", "shape": [len(config.joints)]}
    outputs = {"action": {"type": "ACTION", "shape": [len(config.action_names)]}}
    norms = {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}
    _write_json(
        folder / "config.json",
        {
            "type": "smolvla",
            "n_obs_steps": 1,
            "input_features": inputs,
            "output_features": outputs,
            "normalization_mapping": norms,
            "device": "cpu",
            "chunk_size": config.chunk_size,
            "n_action_steps": config.chunk_size,
            "max_state_dim": config.max_state_dim,
            "max_action_dim": config.max_action_dim,
            "resize_imgs_with_padding": [size, size],
            "tokenizer_max_length": config.max_language_tokens,
            "num_steps": config.denoising_steps,
            "vlm_model_name": VLM_NAME,
            "num_vlm_layers": config.text.layers,
            "self_attn_every_n_layers": config.expert.self_attention_every,
            "expert_width_multiplier": config.expert.hidden_size / config.text.hidden_size,
            "min_period": config.expert.min_period,
            "max_period": config.expert.max_period,
            "load_vlm_weights": False,
        },
    )
    _save_processors(folder, config, normalizer, inputs, outputs, norms)


def _save_processors(folder, config, normalizer, inputs, outputs, norms) -> None:
    statistics = {
        "observation.state.mean": normalizer.state_mean,
        "observation.state.std": normalizer.state_std,
        "action.mean": normalizer.action_mean,
        "action.std": normalizer.action_std,
    }
    statistics = {name: tensor.float().clone() for name, tensor in statistics.items()}
    save_file(statistics, folder / NORMALIZER)
    save_file(statistics, folder / UNNORMALIZER)
    tokenizer = {
        "max_length": config.max_language_tokens,
        "task_key": "task",
        "padding_side": "right",
        "padding": "longest",
        "truncation": True,
        "tokenizer_name": VLM_NAME,
    }
    step = {"eps": 1e-8, "norm_map": norms}
    device = {"device": "cpu", "float_dtype": None}
    _write_json(
        folder / "policy_preprocessor.json",
        {
            "name": "policy_preprocessor",
            "steps": [
                {
                    "registry_name": "rename_observations_processor",
                    "config": {"rename_map": {}},
                },
                {"registry_name": "to_batch_processor", "config": {}},
                {"registry_name": "smolvla_new_line_processor", "config": {}},
                {"registry_name": "tokenizer_processor", "config": tokenizer},
                {"registry_name": "device_processor", "config": device},
                {
                    "registry_name": "normalizer_processor",
                    "config": {**step, "features": {**inputs, **outputs}},
                    "state_file": NORMALIZER,
                },
            ],
        },
    )
    _write_json(
        folder / "policy_postprocessor.json",
        {
            "name": "policy_postprocessor",
            "steps": [
                {
                    "registry_name": "unnormalizer_processor",
                    "config": {**step, "features": outputs},
                    "state_file": UNNORMALIZER,
                },
                {"registry_name": "device_processor", "config": device},
            ],
        },
    )


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
