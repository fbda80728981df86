"""All that can be said of a folder with a SmolVLA of LeRobot before it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from multismolvla.doctor import Finding, error, errors, warning
from multismolvla.embodiment import lerobot_units
from multismolvla.embodiment.description import Embodiment
from multismolvla.policy import lerobot_normalization as normalization
from multismolvla.policy.checkpoint import resolve
from multismolvla.policy.lerobot_adapter import is_adapter, merged_weights
from multismolvla.policy.lerobot_config import (
    ACTION,
    CAMERA_PREFIX,
    FILE_NAME,
    STATE,
    LeRobotCheckpointError,
    LeRobotConfig,
    read_config,
)
from multismolvla.policy.lerobot_normalization import StatisticsChoice
from multismolvla.policy.lerobot_pipeline import (
    EPSILON,
    POSTPROCESSOR,
    PREPROCESSOR,
    Pipeline,
    check_pair,
    mode_of,
    read_pipeline,
    read_tensors,
)
from multismolvla.policy.lerobot_weights import WEIGHTS, is_weight, ours

# Language models whose heads have the widths that are assumed without a `vlm_config.json`.
KNOWN_VLMS = ("SmolVLM2-500M-Video-Instruct", "SmolVLM2-256M-Video-Instruct")
VLM_FILE = "vlm_config.json"
LEROBOT = "lerobot"  # the unit's name before there were several
KINDS = {STATE: "STATE", ACTION: "ACTION"}


@dataclass(frozen=True)
class Inspection:
    """What a folder holds.

    Attributes:
        cameras: camera as the robot of the data named it -> camera of the policy.
        tensors: of the weights, under LeRobot's names.
        pre, post: the pipelines; None before LeRobot 0.4.
    """

    folder: Path
    config: LeRobotConfig
    cameras: Mapping[str, str]
    tensors: Mapping[str, Tensor]
    pre: Pipeline | None
    post: Pipeline | None


@dataclass(frozen=True)
class Normalisation:
    """How states and actions become the model's numbers.

    Attributes:
        arguments: of a `Normalizer`, in radians where they are joints; None where an error leaves
            no meaning to them.
        modes: feature -> mode.
        units: of the joints; "" where they are unknown, or the arm is not commanded by joints.
    """

    arguments: Mapping[str, Tensor] | None
    modes: Mapping[str, str]
    units: str


def inspect(folder: Path, embodiment: Embodiment, found: list[Finding]) -> Inspection | None:
    """Read a folder, but for its statistics; what is wrong or odd is added to `found`.

    Returns:
        None where `config.json` or the weights cannot be used at all.
    """
    where = folder / FILE_NAME
    config = read_config(where, found)
    pre, post = (read_pipeline(folder / n, found) for n in (PREPROCESSOR, POSTPROCESSOR))
    found += check_pair(folder, pre, post)
    try:
        adapter = is_adapter(folder)
        tensors = merged_weights(folder, resolve) if adapter else read_tensors(folder / WEIGHTS)
    except LeRobotCheckpointError as cause:
        file, _, what = str(cause).partition(": ")
        found.append(error(file, "", what))
        return None
    if config is None:
        return None
    if config.values.get("use_peft") and any(".lora_" in name for name in tensors):
        what = "is true, and the weights hold an adapter; expected merged weights"
        found.append(error(where, "use_peft", what, "merge it with PEFT's merge_and_unload()"))
    _check_arm(config, embodiment, where, found)
    _check_model(folder, config, tensors, found)
    cameras = _cameras(config, pre, where, found)
    return Inspection(folder, config, cameras, tensors, pre, post)


def _check_arm(
    config: LeRobotConfig, embodiment: Embodiment, where: Path, found: list[Finding]
) -> None:
    for key, size, expected in (
        (f"input_features.{STATE}", config.sizes[STATE], embodiment.state_names),
        (f"output_features.{ACTION}", config.sizes[ACTION], embodiment.action_names),
    ):
        if size != len(expected):
            what = (
                f"has {size} values; expected {len(expected)}, as the arm '{embodiment.name}' has"
            )
            found.append(error(where, key, what))


def _check_model(
    folder: Path, config: LeRobotConfig, tensors: Mapping[str, Tensor], found: list[Finding]
) -> None:
    """The language model that is built must be the one of the weights."""
    where, vlm = folder / FILE_NAME, config.vlm
    known = vlm.rstrip("/").rpartition("/")[2] in KNOWN_VLMS
    if vlm and not known and not (folder / VLM_FILE).is_file():
        found.append(
            error(
                where,
                "vlm_model_name",
                f"is '{vlm}', whose sizes are not known; expected {' or '.join(KNOWN_VLMS)}",
                f"put the config.json of that model into the folder as {VLM_FILE}",
            )
        )
    names = {ours(name) for name in tensors if is_weight(name)}
    layers = len({n.split(".")[2] for n in names if n.startswith("text.layers.")})
    wanted = config.values.get("num_vlm_layers", 0)
    if wanted > 0 and layers and wanted != layers:
        what = f"is {wanted}, but the weights have {layers} layers"
        found.append(error(where, "num_vlm_layers", what))


def _cameras(
    config: LeRobotConfig, pre: Pipeline | None, where: Path, found: list[Finding]
) -> dict[str, str]:
    """Camera as the robot names it -> camera of the policy, in the policy's order."""
    renames = {} if pre is None else pre.renames
    for new in renames.values():
        if new not in config.cameras:
            known = ", ".join(config.cameras)
            what = f"renames a camera to '{new}'; the policy has {known}"
            found.append(error(where.with_name(PREPROCESSOR), "rename_map", what))
    old_names = {new: old for old, new in renames.items()}
    cameras = {old_names.get(camera, camera): camera for camera in config.cameras}
    tensors = {} if pre is None else pre.tensors
    seen = {
        old
        for old, new in cameras.items()
        if any(f"{CAMERA_PREFIX}{name}." in key for name in {old, new} for key in tensors)
    }
    for old in [old for old in cameras if seen and old not in seen]:
        # LeRobot gives a camera that the data lack no place among the tokens.
        camera = cameras.pop(old)
        what = "was in none of the training data, which have no statistics of it; left out"
        found.append(warning(where, f"input_features.{CAMERA_PREFIX}{camera}", what))
    return cameras


def read_statistics(
    inspection: Inspection, embodiment: Embodiment, choice: StatisticsChoice, found: list[Finding]
) -> Normalisation:
    """Statistics, mode and unit; what cannot be known of them is added to `found`."""
    units = lerobot_units.DEGREES if choice.units == LEROBOT else choice.units
    if units and units not in lerobot_units.UNITS:
        raise ValueError(f"units is '{units}'; expected {', '.join(lerobot_units.UNITS)}")
    if units == lerobot_units.NORMALIZED and choice.travel_rad is None:
        raise ValueError(
            "units is 'normalized'; expected a calibration with it (policy_calibration), whose "
            "travel -100 to 100 stands for"
        )
    before = len(errors(found))
    affine, every, modes = {}, {}, {}
    file = inspection.folder / WEIGHTS
    for feature in (STATE, ACTION):
        mode, file, tensors, epsilon = _source(inspection, feature, found)
        modes[feature] = mode
        named = normalization.of_feature(tensors, feature)
        statistics = normalization.choose(named, feature, mode, choice.source, file, found)
        if statistics is None:
            continue
        every[feature] = statistics
        size = inspection.config.sizes[feature]
        pair = normalization.shift_and_scale(statistics, feature, mode, size, epsilon, file, found)
        if pair is not None:
            affine[feature] = pair
    joints = embodiment.commands_joints and embodiment.state_names == embodiment.joint_names
    if not joints:
        units = ""
    elif every:
        units = normalization.find_units(every, embodiment, units, file, found)
    if len(errors(found)) > before:
        return Normalisation(None, modes, units)
    arguments = {}
    for feature, short in ((STATE, "state"), (ACTION, "action")):
        shift, scale = affine[feature]
        if joints:
            shift, scale = normalization.to_radians(shift, scale, units, choice, embodiment)
        if feature == STATE:
            scale = normalization.as_deviation(scale)
        arguments |= {f"{short}_mean": shift.float(), f"{short}_std": scale.float()}
    return Normalisation(arguments, modes, units)


def _source(
    inspection: Inspection, feature: str, found: list[Finding]
) -> tuple[str, Path, Mapping[str, Tensor], float]:
    """Mode, file, tensors and epsilon of a feature: states are normalised by the preprocessor,
    actions by the postprocessor, both by the weights before LeRobot 0.4."""
    folder, config = inspection.folder, inspection.config
    pipeline, name = inspection.pre, PREPROCESSOR
    if feature == ACTION and inspection.post is not None:
        pipeline, name = inspection.post, POSTPROCESSOR
    mode = mode_of(KINDS[feature], pipeline, folder / name, config.normalization, found)
    old = normalization.in_weights(inspection.tensors)
    if pipeline is None or (pipeline.statistics_file is None and old):
        return mode, folder / WEIGHTS, old, EPSILON
    return mode, pipeline.statistics_file or folder / name, pipeline.tensors, pipeline.epsilon
