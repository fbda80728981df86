"""The processor pipelines of a LeRobot policy, `policy_preprocessor.json` and
`policy_postprocessor.json`, read step by step: what a step does is done here too, has no effect on
actions, or the step is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from multismolvla.doctor import Finding, error, warning
from multismolvla.one_line import one_line
from multismolvla.policy.lerobot_config import (
    CAMERA_PREFIX,
    MODES,
    STATE,
    LeRobotCheckpointError,
    read_json,
)
from multismolvla.policy.lerobot_config import FILE_NAME as CONFIG

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
NORMALIZERS = {PREPROCESSOR: "normalizer_processor", POSTPROCESSOR: "unnormalizer_processor"}
NEWLINE = "smolvla_new_line_processor"
# LeRobot's, for a step that does not say.
EPSILON = 1e-8


@dataclass
class Pipeline:
    """One of the two pipelines.

    Attributes:
        renames: camera as the robot names it -> camera of the policy.
        mapping: `STATE`, `ACTION` -> mode, as the normalising step says; empty where it does not.
        tensors: the statistics of that step under their names in the file.
        statistics_file: where they are; None without such a step.
        tokenizer: name of the tokenizer; "" where no step has one.
        raw_state: whether the normalising step leaves the state alone.
    """

    renames: dict[str, str] = field(default_factory=dict)
    mapping: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    statistics_file: Path | None = None
    epsilon: float = EPSILON
    tokenizer: str = ""
    raw_state: bool = False


def read_pipeline(path: Path, found: list[Finding]) -> Pipeline | None:
    """A pipeline; None without the file. What is wrong is added to `found`."""
    if not path.is_file():
        return None
    pipeline = Pipeline()
    try:
        steps = read_json(path).get("steps")
    except LeRobotCheckpointError as cause:
        found.append(error(path, "", str(cause).removeprefix(f"{path}: ")))
        return pipeline
    if not isinstance(steps, list):
        found.append(error(path, "steps", f"is {json.dumps(steps)}; expected a list of steps"))
        return pipeline
    names = []
    for place, step in enumerate(steps):
        key = f"steps[{place}]"
        if not isinstance(step, dict) or not isinstance(step.get("config", {}), dict):
            found.append(error(path, key, f"is {json.dumps(step)}; expected keys and values"))
            continue
        name = step.get("registry_name") or step.get("class")
        if name is None and "state_file" in step:
            # Without a name only the one with statistics can be meant.
            name = NORMALIZERS[path.name]
        names.append(name)
        read = _STEPS.get(name) if isinstance(name, str) else None
        if read is None:
            found.append(
                error(
                    path,
                    key,
                    f"is '{name}', a step that this stack does not know; "
                    f"expected {', '.join(_STEPS)}",
                    "do in the data what the step does, and train again without it",
                )
            )
            continue
        read(pipeline, path, key, step, found)
    if path.name == PREPROCESSOR and NEWLINE not in names and "tokenizer_processor" in names:
        found.append(
            error(
                path,
                "steps",
                f"has no '{NEWLINE}'; expected one, since instructions end in a newline here",
            )
        )
    if names.count(NORMALIZERS[path.name]) > 1:
        found.append(error(path, "steps", f"has '{NORMALIZERS[path.name]}' more than once"))
    return pipeline


def read_tensors(path: Path) -> dict[str, Tensor]:
    """
    Raises:
        LeRobotCheckpointError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as cause:
        raise LeRobotCheckpointError(
            f"{path}: cannot be read as safetensors: {one_line(cause)}"
        ) from None


Step = Mapping[str, Any]
Read = Callable[[Pipeline, Path, str, Step, list[Finding]], None]


def _nothing(pipeline: Pipeline, path: Path, key: str, step: Step, found: list[Finding]) -> None:
    """Batches are made here, and every instruction ends in a newline."""


def _rename(pipeline: Pipeline, path: Path, key: str, step: Step, found: list[Finding]) -> None:
    place = f"{key}.config.rename_map"
    renames = step.get("config", {}).get("rename_map", {})
    if not isinstance(renames, dict) or not all(isinstance(v, str) for v in renames.values()):
        found.append(error(path, place, f"is {json.dumps(renames)}; expected name: new name"))
        return
    for old, new in renames.items():
        if old.startswith(CAMERA_PREFIX) and new.startswith(CAMERA_PREFIX):
            camera = new.removeprefix(CAMERA_PREFIX)
            if camera in pipeline.renames.values():
                found.append(error(path, place, f"gives '{new}' to two features"))
            pipeline.renames[old.removeprefix(CAMERA_PREFIX)] = camera
        elif new != STATE:
            # The state is the arm's own here, whatever its name was.
            found.append(
                error(
                    path,
                    f"{place}.{old}",
                    f"is '{new}'; expected cameras ('{CAMERA_PREFIX}...') or '{STATE}'",
                )
            )


def _tokenizer(pipeline: Pipeline, path: Path, key: str, step: Step, found: list[Finding]) -> None:
    config = step.get("config", {})
    pipeline.tokenizer = str(config.get("tokenizer_name") or "")
    if config.get("padding_side", "right") != "right":
        side = config["padding_side"]
        found.append(error(path, f"{key}.config.padding_side", f"is {side!r}; expected 'right'"))


def _device(pipeline: Pipeline, path: Path, key: str, step: Step, found: list[Finding]) -> None:
    dtype = step.get("config", {}).get("float_dtype")
    if dtype not in (None, "float32", "float"):
        what = f"is {dtype!r}; expected null or 'float32': numbers are not rounded here"
        found.append(error(path, f"{key}.config.float_dtype", what))


def _disabled(pipeline: Pipeline, path: Path, key: str, step: Step, found: list[Finding]) -> None:
    if step.get("config", {}).get("enabled", False):
        found.append(
            error(
                path,
                f"{key}.config.enabled",
                "is true; expected false, since LeRobot's actions relative to the state are not "
                "read here",
                "train with absolute actions",
            )
        )


def _normalize(pipeline: Pipeline, path: Path, key: str, step: Step, found: list[Finding]) -> None:
    config = step.get("config", {})
    mapping = config.get("norm_map", {})
    if not isinstance(mapping, dict) or any(mode not in MODES for mode in mapping.values()):
        place = f"{key}.config.norm_map"
        what = f"is {json.dumps(mapping)}; expected a mode each of {', '.join(MODES)}"
        found.append(error(path, place, what))
    else:
        pipeline.mapping = dict(mapping)
    keys = config.get("normalize_observation_keys")
    if keys is not None and path.name == PREPROCESSOR and STATE not in keys:
        # Then LeRobot hands the state on as it is.
        pipeline.raw_state = True
    epsilon = config.get("eps", EPSILON)
    if type(epsilon) in (int, float) and 0 <= epsilon < 1:
        pipeline.epsilon = float(epsilon)
    else:
        found.append(error(path, f"{key}.config.eps", f"is {epsilon!r}; expected a small number"))
    name = step.get("state_file")
    if name is None:
        return
    file = path.parent / str(name)
    if not isinstance(name, str) or file.parent != path.parent:
        found.append(error(path, f"{key}.state_file", f"is {name!r}; expected a file beside it"))
        return
    pipeline.statistics_file = file
    if not file.is_file():
        found.append(
            error(
                path,
                f"{key}.state_file",
                f"is '{name}', which is not in the folder",
                "copy the whole folder that LeRobot saved; without its statistics no action has a "
                "unit",
            )
        )
        return
    try:
        pipeline.tensors = read_tensors(file)
    except LeRobotCheckpointError as cause:
        found.append(error(file, "", str(cause).removeprefix(f"{file}: ")))


_STEPS: dict[str, Read] = {
    "rename_observations_processor": _rename,
    "to_batch_processor": _nothing,
    NEWLINE: _nothing,
    "tokenizer_processor": _tokenizer,
    "device_processor": _device,
    "normalizer_processor": _normalize,
    "unnormalizer_processor": _normalize,
    # LeRobot 0.5 and later.
    "relative_actions_processor": _disabled,
    "absolute_actions_processor": _disabled,
}


def mode_of(
    kind: str,
    pipeline: Pipeline | None,
    path: Path,
    mapping: Mapping[str, str],
    found: list[Finding],
) -> str:
    """The mode of `STATE` or `ACTION`: LeRobot applies the step's; that of `config.json` must not
    say something else."""
    own = pipeline.mapping.get(kind) if pipeline is not None else None
    if pipeline is None or own is None:
        return mapping[kind]
    if own != mapping[kind]:
        found.append(
            error(
                path.with_name(CONFIG),
                f"normalization_mapping.{kind}",
                f"is '{mapping[kind]}', but {path.name} says '{own}'; expected the same",
                "set both to the mode that the policy was trained with",
            )
        )
    return "IDENTITY" if kind == "STATE" and pipeline.raw_state else own


def check_pair(folder: Path, pre: Pipeline | None, post: Pipeline | None) -> list[Finding]:
    """What is odd of the two together."""
    if pre is not None and post is None:
        what = "is missing; the statistics of the actions are taken from the preprocessor's file"
        return [warning(folder / POSTPROCESSOR, "", what)]
    if pre is None and post is not None:
        return [error(folder / PREPROCESSOR, "", "is missing; expected it beside the other one")]
    return []
