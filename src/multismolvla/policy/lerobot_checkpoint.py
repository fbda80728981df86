"""Checkpoints of LeRobot's SmolVLA, read and written in its layout (LeRobot 0.4, `smolvla_base`).

A folder holds `config.json` (type `smolvla`), `model.safetensors` in bfloat16 but for a few parts,
and the statistics of `policy_preprocessor.json` and `policy_postprocessor.json`. The sizes of the
language model are in no file of it: they follow from the tensors, but for the width of a head,
which is 64 unless the folder holds the SmolVLM's `vlm_config.json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from multismolvla.embodiment import lerobot_units
from multismolvla.embodiment.description import Embodiment
from multismolvla.one_line import one_line
from multismolvla.policy.checkpoint import Unfilled
from multismolvla.policy.config import ExpertConfig, PolicyConfig, SiglipConfig, TextConfig
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.streams import Stream

CAMERA_PREFIX = "observation.images."
WEIGHTS = "model.safetensors"
_VLM = "model.vlm_with_expert.vlm.model."
# The beginning of a name there -> here; the first that fits.
PREFIXES = {
    f"{_VLM}vision_model.embeddings.": "visual.tower.",
    f"{_VLM}vision_model.encoder.": "visual.tower.",
    f"{_VLM}vision_model.": "visual.tower.",
    f"{_VLM}connector.modality_projection.": "visual.",
    f"{_VLM}text_model.": "text.",
    "model.vlm_with_expert.lm_expert.": "expert.",
    "model.": "",
}
# Never used for actions.
UNUSED = "model.vlm_with_expert.vlm.lm_head."
# Of its statistics: `lerobot`, see `embodiment.lerobot_units`, or ours.
UNITS = ("lerobot", "radians")
NORMALIZER = "policy_preprocessor_step_5_normalizer_processor.safetensors"
UNNORMALIZER = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
VLM_NAME = "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"


class LeRobotCheckpointError(ValueError):
    """The folder is no SmolVLA checkpoint; the message names the file and what was expected."""


def is_lerobot(folder: Path) -> bool:
    """Whether the folder holds a policy of LeRobot."""
    return (folder / "config.json").is_file()


def load_lerobot(
    folder: str | Path,
    embodiment: Embodiment,
    *,
    cameras: Mapping[str, str] | None = None,
    rate_hz: float = 30.0,
    units: str = "lerobot",
) -> tuple[MultiSmolVLA, Normalizer]:
    """Load a SmolVLA checkpoint of LeRobot; weights become float32.

    Args:
        folder: a local folder.
        embodiment: the arm that it is to move.
        cameras: LeRobot's camera -> our stream, for example `{"camera1": "rgb"}`; in the order of
            the checkpoint. Without, `camera1` becomes the stream `camera1/rgb`.
        rate_hz: actions per second of its training data, which no file contains.
        units: of its statistics: `lerobot` (degrees, gripper 0 to 100) or `radians`.

    Raises:
        LeRobotCheckpointError: a file is missing or damaged, the policy is of another type, or its
            states or actions have another size than the arm's.
    """
    folder = Path(folder)
    if units not in UNITS:
        raise ValueError(f"units is '{units}'; expected {' or '.join(UNITS)}")
    settings = _json(folder / "config.json")
    if settings.get("type", "smolvla") != "smolvla":
        raise LeRobotCheckpointError(
            f"{folder / 'config.json'}: type is '{settings['type']}'; expected 'smolvla'"
        )
    tensors = _tensors(folder / WEIGHTS)
    config = _config(folder, embodiment, settings, tensors, cameras or {}, rate_hz)
    weights = {_ours(name): tensor.float() for name, tensor in tensors.items() if _is_weight(name)}
    with Unfilled():
        model = MultiSmolVLA(config, embodiment.kinematics)
    problem = _difference(model.state_dict(), weights)
    if problem:
        raise LeRobotCheckpointError(f"{folder / WEIGHTS}: {problem}")
    model.load_state_dict(weights, assign=True)
    return model, _normalizer(folder, embodiment, tensors, config, units)


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
    weights = {_theirs(name): tensor for name, tensor in model.state_dict().items()}
    tensors = {name: t.to(_dtype(name)).contiguous().clone() for name, t in weights.items()}
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


def _is_weight(name: str) -> bool:
    return name.startswith("model.") and not name.startswith(UNUSED)


def _ours(name: str) -> str:
    for theirs, ours in PREFIXES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _theirs(name: str) -> str:
    if name.startswith("visual.tower."):
        part = name.removeprefix("visual.tower.")
        group = part.partition(".")[0]
        between = {"layers": "encoder.", "post_layernorm": ""}.get(group, "embeddings.")
        return f"{_VLM}vision_model.{between}{part}"
    for theirs, ours in list(PREFIXES.items())[3:]:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(name)


def _dtype(name: str) -> torch.dtype:
    """bfloat16, but for what SmolVLA adds: projections, and layers built after the conversion."""
    if not name.startswith("model.vlm_with_expert."):
        return torch.float32
    layer, _, part = name.removeprefix("model.vlm_with_expert.lm_expert.layers.").partition(".")
    if layer.isdigit() and int(layer) % 2 and part.startswith(("self_attn.k_", "self_attn.v_")):
        return torch.float32
    return torch.bfloat16


def _config(
    folder: Path,
    embodiment: Embodiment,
    settings: dict,
    tensors: Mapping[str, Tensor],
    cameras: Mapping[str, str],
    rate_hz: float,
) -> PolicyConfig:
    where = folder / "config.json"

    def get(key: str):
        if key not in settings:
            raise LeRobotCheckpointError(f"{where}: missing key '{key}'")
        return settings[key]

    vlm = _json(folder / "vlm_config.json") if (folder / "vlm_config.json").is_file() else {}
    shapes = {_ours(name): tensor.shape for name, tensor in tensors.items() if _is_weight(name)}

    def shape(name: str) -> torch.Size:
        if name not in shapes:
            raise LeRobotCheckpointError(f"{folder / WEIGHTS}: missing tensor '{_theirs(name)}'")
        return shapes[name]

    features = {**get("input_features"), **get("output_features")}
    for key, expected in (
        ("observation.state", embodiment.state_names),
        ("action", embodiment.action_names),
    ):
        size = features[key]["shape"][0] if key in features else len(expected)
        if size != len(expected):
            raise LeRobotCheckpointError(
                f"{where}: {key} has {size} values; "
                f"expected {len(expected)}, as the arm '{embodiment.name}' has"
            )
    names = [
        key.removeprefix(CAMERA_PREFIX)
        for key in get("input_features")
        if key.startswith(CAMERA_PREFIX)
    ]
    for camera in cameras:
        if camera not in names:
            raise LeRobotCheckpointError(
                f"{where}: there is no camera '{camera}'; it has {', '.join(names)}"
            )
    image_size = get("resize_imgs_with_padding")[0]
    streams = []
    for camera in names:
        stream = cameras.get(camera, f"{camera}/rgb")
        streams.append(Stream(stream, "rgb", image_size, image_size, rate_hz, "camera"))

    hidden = shape("text.embed_tokens.weight")
    head_dim = vlm.get("text_config", {}).get("head_dim", 64)
    text = TextConfig(
        hidden_size=hidden[1],
        layers=_count(shapes, "text.layers."),
        heads=shape("text.layers.0.self_attn.q_proj.weight")[0] // head_dim,
        kv_heads=shape("text.layers.0.self_attn.k_proj.weight")[0] // head_dim,
        head_dim=head_dim,
        intermediate_size=shape("text.layers.0.mlp.gate_proj.weight")[0],
        vocab_size=hidden[0],
    )
    vision_width = shape("visual.tower.patch_embedding.weight")[0]
    siglip = SiglipConfig(
        hidden_size=vision_width,
        layers=_count(shapes, "visual.tower.layers."),
        heads=vlm.get("vision_config", {}).get("num_attention_heads", 12),
        intermediate_size=shape("visual.tower.layers.0.mlp.fc1.weight")[0],
        image_size=image_size,
        patch_size=shape("visual.tower.patch_embedding.weight")[-1],
        shuffle=math.isqrt(shape("visual.proj.weight")[1] // vision_width),
    )
    return PolicyConfig(
        encoder="siglip",
        text=text,
        joints=embodiment.state_names,
        actions=() if embodiment.commands_joints else embodiment.action_names,
        siglip=siglip,
        expert=ExpertConfig(
            hidden_size=shape("action_in_proj.weight")[0],
            intermediate_size=shape("expert.layers.0.mlp.gate_proj.weight")[0],
            self_attention_every=get("self_attn_every_n_layers"),
            min_period=get("min_period"),
            max_period=get("max_period"),
        ),
        streams=tuple(streams),
        tokens_per_view=(image_size // siglip.patch_size // siglip.shuffle) ** 2,
        max_state_dim=get("max_state_dim"),
        max_action_dim=get("max_action_dim"),
        chunk_size=get("chunk_size"),
        period_s=1.0 / rate_hz,
        max_language_tokens=get("tokenizer_max_length"),
        denoising_steps=get("num_steps"),
    )


def _count(shapes: Mapping[str, torch.Size], prefix: str) -> int:
    return len({n.removeprefix(prefix).partition(".")[0] for n in shapes if n.startswith(prefix)})


def _normalizer(
    folder: Path,
    embodiment: Embodiment,
    tensors: Mapping[str, Tensor],
    config: PolicyConfig,
    units: str,
) -> Normalizer:
    """Statistics from where LeRobot keeps them: processors since 0.4, the weights before."""
    found: dict[str, Tensor] = {}
    for name in ("policy_preprocessor.json", "policy_postprocessor.json"):
        if (folder / name).is_file():
            for step in _json(folder / name).get("steps", []):
                if "state_file" in step:
                    found |= _tensors(folder / step["state_file"])
    for name, tensor in tensors.items():
        for start in ("normalize_inputs.buffer_", "unnormalize_outputs.buffer_"):
            if name.startswith(start):
                key = name.removeprefix(start).replace("observation_state", "observation.state")
                found[key] = tensor
    statistics = {}
    names = {"state": config.joints, "action": config.action_names}
    scale, offset = map(torch.from_numpy, lerobot_units.to_radians(embodiment))
    for ours, theirs in (("state", "observation.state"), ("action", "action")):
        mean, std = found.get(f"{theirs}.mean"), found.get(f"{theirs}.std")
        if mean is None or std is None or not torch.isfinite(torch.cat((mean, std))).all():
            # None, or the infinities that LeRobot's older layout marks missing ones with.
            mean, std = torch.zeros(len(names[ours])), torch.ones(len(names[ours]))
        elif units == "lerobot" and names[ours] == embodiment.joint_names:
            mean, std = mean.float(), std.float()
            mean, std = mean * scale.to(mean) + offset.to(mean), std * scale.to(std)
        statistics[f"{ours}_mean"], statistics[f"{ours}_std"] = mean.float(), std.float()
    return Normalizer(config, **statistics)


def _difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """The first tensor that is missing, unknown or of another shape, or ""."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            return f"missing tensor '{_theirs(name)}'"
        if name not in expected:
            return f"unknown tensor '{_theirs(name)}'"
        if found[name].shape != expected[name].shape:
            got, want = tuple(found[name].shape), tuple(expected[name].shape)
            return f"tensor '{_theirs(name)}' has shape {got}; expected {want}"
    return ""


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        cause = one_line(error)
        raise LeRobotCheckpointError(f"{path}: cannot be read as safetensors: {cause}") from None


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise LeRobotCheckpointError(f"{path}: cannot read it: {error.strerror}") from None
    except ValueError as error:
        raise LeRobotCheckpointError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise LeRobotCheckpointError(f"{path}: expected keys and values")
    return content


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
