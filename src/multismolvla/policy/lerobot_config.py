"""`config.json` of a SmolVLA of LeRobot: every key is honoured, of no effect, or refused by name.

What is wrong becomes findings, so that a check-up can tell all of it and a loader the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multismolvla.doctor import Finding, error, errors, warning
from multismolvla.one_line import one_line

FILE_NAME = "config.json"
CAMERA_PREFIX = "observation.images."
STATE, ACTION = "observation.state", "action"
EMPTY_CAMERA = "empty_camera_"
MODES = ("MEAN_STD", "MIN_MAX", "QUANTILES", "QUANTILE10", "IDENTITY")
# LeRobot's own defaults, for a file that leaves the mapping out.
MAPPING = {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}

# Of training, of the hub and of the machine, or without effect on actions: LeRobot 0.3 to 0.6.
# `prefix_length` and `pad_language_to` add tokens that nothing attends to and no position counts.
# fmt: off
_NO_EFFECT = {
    "type", "device", "use_amp", "push_to_hub", "repo_id", "private", "tags", "license",
    "pretrained_path", "pretrained_revision", "use_cache", "freeze_vision_encoder",
    "train_expert_only", "train_state_proj", "optimizer_lr", "optimizer_betas", "optimizer_eps",
    "optimizer_weight_decay", "optimizer_grad_clip_norm", "scheduler_warmup_steps",
    "scheduler_decay_steps", "scheduler_decay_lr", "vlm_model_name", "load_vlm_weights",
    "prefix_length", "pad_language_to", "expert_width_multiplier", "rtc_config", "compile_model",
    "compile_mode", "use_peft",
}
# fmt: on
# Key -> the values with which it is read, and what the others would mean.
_ONLY: dict[str, tuple[tuple[Any, ...], str]] = {
    "n_obs_steps": ((1,), "this stack shows the policy one instant"),
    "adapt_to_pi_aloha": ((False,), "Aloha's joints are not converted here"),
    "use_delta_joint_actions_aloha": ((False,), "LeRobot has not ported it either"),
    "add_image_special_tokens": ((False,), "tokens around images are not built here"),
    "attention_mode": (("cross_attn",), "the other attention is another network"),
}
_WHOLE = {
    "chunk_size": 1,
    "n_action_steps": 1,
    "max_state_dim": 1,
    "max_action_dim": 1,
    "tokenizer_max_length": 1,
    "num_steps": 1,
    "self_attn_every_n_layers": 1,
    "empty_cameras": 0,
    "num_vlm_layers": -1,
    "num_expert_layers": -1,
}
_REQUIRED = ("input_features", "output_features", "resize_imgs_with_padding", "chunk_size")
_REQUIRED += ("max_state_dim", "max_action_dim", "tokenizer_max_length", "num_steps")
_REQUIRED += ("self_attn_every_n_layers", "min_period", "max_period")
_PERIODS = ("min_period", "max_period")
_OTHERS = {*_REQUIRED, "normalization_mapping"}


class LeRobotCheckpointError(ValueError):
    """The folder is no SmolVLA checkpoint; the message names the file and what was expected."""


@dataclass(frozen=True)
class LeRobotConfig:
    """What `config.json` says, checked.

    Attributes:
        cameras: camera -> its (channels, height, width), in the order of the model's slots.
        sizes: how many numbers state and action have.
        image_size: side of the square that images are brought to; None where they are not resized.
        normalization: `VISUAL`, `STATE`, `ACTION` -> one of `MODES`.
        values: the numbers of the file by key.
        vlm: name of the language model that its tokenizer comes with.
    """

    cameras: Mapping[str, tuple[int, ...]]
    sizes: Mapping[str, int]
    image_size: int | None
    normalization: Mapping[str, str]
    values: Mapping[str, Any]
    vlm: str


def line(finding: Finding) -> str:
    """A finding as an error: file, key, what and what to do."""
    what = f"{finding.key} {finding.what}".strip()
    return f"{finding.file}: {what}{f'; {finding.fix}' if finding.fix else ''}"


def read_json(path: Path) -> dict[str, Any]:
    """
    Raises:
        LeRobotCheckpointError: the file cannot be read or is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise LeRobotCheckpointError(f"{path}: cannot read it: {cause.strerror}") from None
    except (ValueError, RecursionError) as cause:
        raise LeRobotCheckpointError(f"{path}: not valid JSON: {one_line(cause)}") from None
    if not isinstance(content, dict):
        raise LeRobotCheckpointError(f"{path}: expected keys and values")
    return content


def read_config(path: Path, found: list[Finding]) -> LeRobotConfig | None:
    """The configuration, or None where an error among what was `found` leaves nothing to use."""
    try:
        content = read_json(path)
    except LeRobotCheckpointError as cause:
        found.append(error(path, "", str(cause).removeprefix(f"{path}: ")))
        return None
    before = len(found)

    def refuse(key: str, what: str, fix: str = "") -> None:
        found.append(error(path, key, what, fix))

    kind = content.get("type", "smolvla")
    if kind != "smolvla":
        refuse("type", f"is {kind!r}; expected 'smolvla'")
        return None
    for key in _REQUIRED:
        if key not in content:
            refuse("", f"missing key '{key}'")
    _check_values(content, path, found, refuse)
    mapping = _mapping(content.get("normalization_mapping", MAPPING), refuse)
    cameras, sizes = _features(content, path, found, refuse)
    image_size = _image_size(content.get("resize_imgs_with_padding"), refuse)
    if errors(found[before:]):
        return None
    count = sum(name.startswith(EMPTY_CAMERA) for name in cameras)
    if content.get("empty_cameras", 0) > 0 and len(cameras) == count:
        refuse("input_features", "has empty cameras only; expected a camera")
        return None
    vlm = content.get("vlm_model_name")
    return LeRobotConfig(
        # LeRobot masks an empty camera and counts no position for it: as if it were not there.
        {name: shape for name, shape in cameras.items() if not name.startswith(EMPTY_CAMERA)},
        sizes,
        image_size,
        mapping,
        content,
        vlm if isinstance(vlm, str) else "",
    )


Refuse = Callable[..., None]


def _check_values(
    content: Mapping[str, Any], path: Path, found: list[Finding], refuse: Refuse
) -> None:
    for key, (allowed, why) in _ONLY.items():
        value = content.get(key, allowed[0])
        if value not in allowed or type(value) is not type(allowed[0]):
            refuse(key, f"is {value!r}; expected {allowed[0]!r}, since {why}")
    for key, least in _WHOLE.items():
        value = content.get(key, least)
        if type(value) is not int or value < least:
            refuse(key, f"is {value!r}; expected a whole number, {least} or more")
    for key in _PERIODS:
        value = content.get(key, 1.0)
        if type(value) not in (int, float) or not 0 < value < 1e9:
            refuse(key, f"is {value!r}; expected a positive number")
    layers, expert = content.get("num_vlm_layers", 0), content.get("num_expert_layers", -1)
    if type(expert) is int and expert > 0 and expert != layers:
        refuse("num_expert_layers", f"is {expert}; expected -1 or num_vlm_layers, {layers}")
    steps, chunk = content.get("n_action_steps", 1), content.get("chunk_size", 1)
    if type(steps) is int and type(chunk) is int and steps > chunk:
        refuse("n_action_steps", f"is {steps}; expected at most chunk_size, {chunk}")
    known = {*_NO_EFFECT, *_ONLY, *_WHOLE, *_OTHERS}
    for key in content.keys() - known:
        value = content[key]
        if value in (None, False, 0, -1, "", [], {}):
            found.append(warning(path, key, f"is {value!r}; no LeRobot up to 0.6 has this key"))
        else:
            refuse(
                key,
                f"is {value!r}; no LeRobot up to 0.6 has this key, and what it changes is not "
                "known here",
                "remove it from the file if the actions do not depend on it",
            )


def _mapping(given: Any, refuse: Refuse) -> dict[str, str]:
    key = "normalization_mapping"
    if not isinstance(given, dict):
        refuse(key, f"is {given!r}; expected keys and values")
        return dict(MAPPING)
    for kind, mode in given.items():
        if mode not in MODES:
            refuse(f"{key}.{kind}", f"is {mode!r}; expected {', '.join(MODES)}")
    # What LeRobot's mapping leaves out passes through.
    mapping = {kind: given.get(kind, "IDENTITY") for kind in MAPPING}
    if mapping["VISUAL"] in MODES and mapping["VISUAL"] != "IDENTITY":
        refuse(f"{key}.VISUAL", f"is '{mapping['VISUAL']}'; expected 'IDENTITY', as SmolVLA has it")
    return mapping


def _features(
    content: Mapping[str, Any], path: Path, found: list[Finding], refuse: Refuse
) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    cameras: dict[str, tuple[int, ...]] = {}
    sizes = {STATE: 0, ACTION: 0}
    for group in ("input_features", "output_features"):
        if group not in content:
            continue
        features = content[group]
        if not isinstance(features, dict) or not features:
            refuse(
                group,
                f"is {json.dumps(features)}; expected features by name",
                "save the policy after training, when LeRobot has filled it in from the data set",
            )
            continue
        for name, feature in features.items():
            shape = feature.get("shape") if isinstance(feature, dict) else None
            whole = isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape)
            kind = feature.get("type") if isinstance(feature, dict) else None
            images = kind == "VISUAL"
            if not whole or len(shape) != (3 if images else 1):
                expected = "[3, height, width]" if images else "a list of one number"
                refuse(f"{group}.{name}.shape", f"is {json.dumps(shape)}; expected {expected}")
            elif images:
                camera = name.removeprefix(CAMERA_PREFIX).removeprefix("observation.")
                cameras[camera] = tuple(shape)
            elif name in sizes:
                sizes[name] = shape[0]
            else:
                found.append(
                    warning(path, f"{group}.{name}", f"is of type {kind!r}; SmolVLA never reads it")
                )
        needed = STATE if group == "input_features" else ACTION
        if needed not in features:
            refuse(group, f"has {', '.join(features)}; expected '{needed}' among them")
        if group == "input_features" and not cameras:
            refuse(group, f"has {', '.join(features)}; expected a feature of type 'VISUAL'")
    return cameras, sizes


def _image_size(given: Any, refuse: Refuse) -> int | None:
    if given is None:
        return None
    key, expected = "resize_imgs_with_padding", "null, or width and height, alike"
    if not isinstance(given, list) or len(given) != 2 or any(type(n) is not int for n in given):
        refuse(key, f"is {given!r}; expected {expected}")
    elif given[0] != given[1] or given[0] <= 0:
        refuse(key, f"is {given}; expected {expected}, as the encoder's patches are")
    else:
        return given[0]
    return None
