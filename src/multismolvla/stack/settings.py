"""The settings of the running robot, one declaration for the nodes and for the stack without ROS.

`config/*.yaml` are ROS parameter files. Nodes are started with them, and `load_settings` reads the
same files for `evaluate`, `replay`, `demos` and `scenarios`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from multismolvla.checked_file import yaml_value
from multismolvla.control.action_queue import ENTRIES, STRATEGIES
from multismolvla.control.inference import parse_threshold
from multismolvla.embodiment import lerobot_units
from multismolvla.modalities.modality import Counts
from multismolvla.modalities.registry import kinds, modalities
from multismolvla.modalities.thresholds import Thresholds
from multismolvla.one_line import one_line
from multismolvla.segmentation import PRECISIONS
from multismolvla.setting import reject_unknown_keys, setting, settings_of, with_values

GROUND_TRUTH = "ground_truth"
BACKENDS = ("network", GROUND_TRUTH, "transformers")
CHUNKINGS = ("none", "rtc")
# Of image_transport; beside them `auto`.
TRANSPORTS = ("auto", "raw", "compressed", "compressedDepth")
# Of `policy.fast_linear`, which imports torch; beside them `auto`.
POLICY_PRECISIONS = ("float32", "int8", "bfloat16")
EMBODIMENT = "The arm: so101, panda, or a YAML file as docs/embodiment.md describes it."
_REALTIME = "Run the control loop with real-time priority and locked memory where granted."


@dataclass(frozen=True)
class CameraSettings:
    """How images reach the sensor nodes; what runs without ROS is handed them."""

    image_transport: str = setting(
        "auto",
        "How images come; auto takes compressed ones where there are no raw ones.",
        choices=TRANSPORTS,
    )


@dataclass(frozen=True)
class LabellerSettings:
    """How a view is labelled: `segmentation_node`."""

    backend: str = setting("network", "What labels.", choices=BACKENDS)
    model: str = setting(
        "",
        "Of the network: the world whose scenes it knows, or a file of multismolvla segmentation; "
        "empty for the tabletop. Of the backend transformers: a model by name.",
    )
    threads: int = setting(1, "Processor threads.", 1, 64)
    precision: str = setting(
        "auto",
        "Arithmetic of the network; auto uses bfloat16 on a processor with AMX.",
        choices=PRECISIONS,
    )
    slop_s: float = setting(
        0.02, "Greatest distance of stamps within a set, seconds.", 0.001, 1.0, unit="s"
    )
    max_wait_s: float = setting(
        0.03, "Wait for the image of a healthy source, seconds.", 0.0, 1.0, unit="s"
    )


@dataclass(frozen=True)
class PolicySettings:
    """What is done with frames and chunks: `policy_node`; docs/nodes/policy_node.md explains each.

    `queue_threshold` is None for auto.
    """

    policy: str = setting(
        "small",
        "Name of an installed or shipped policy, folder of a checkpoint, hub id owner/name, or "
        "module:Class.",
    )
    embodiment: str = setting("so101", EMBODIMENT)
    policy_device: str = setting(
        "auto",
        "Where a checkpoint runs; auto uses the GPU if there is one.",
        choices=("auto", "cpu", "cuda"),
    )
    policy_threads: int = setting(
        0,
        "Processor threads of a checkpoint; 0 uses two if they are clearly faster than one.",
        0,
        256,
    )
    policy_seed: int = setting(
        -1,
        "Seed of a checkpoint's noise, the same chunks each time; -1 uses new noise.",
        -1,
        2**31 - 1,
    )
    policy_noise: float = setting(
        0.0,
        "Scale of a checkpoint's noise; 1 as in training, 0 for chunks that agree.",
        0.0,
        2.0,
    )
    policy_cameras: str = setting(
        "", "Streams for the cameras of a LeRobot checkpoint: camera1=rgb,camera2=wrist/rgb."
    )
    policy_units: str = setting(
        "",
        "Of a LeRobot checkpoint's joints, where its statistics leave a doubt; normalized is "
        "-100 to 100 of the calibrated travel.",
        choices=("", *lerobot_units.UNITS),
    )
    policy_calibration: str = setting(
        "", "Calibration of the arm whose data are normalized, in LeRobot's format."
    )
    policy_statistics: str = setting(
        "", "The data set whose statistics are used, where a LeRobot checkpoint has several."
    )
    policy_chunking: str = setting(
        "none",
        "With rtc each chunk of a checkpoint continues the one being executed.",
        choices=CHUNKINGS,
    )
    policy_precision: str = setting(
        "auto",
        "Arithmetic of a checkpoint; auto takes the fastest that gives float32's actions "
        "within 1 % on this processor.",
        choices=("auto", *POLICY_PRECISIONS),
    )
    task: str = setting("", "Instruction to start with; empty waits for the topic `task`.")
    control_rate_hz: float = setting(50.0, "Ticks per second.", 1.0, 200.0, unit="Hz")
    queue_threshold: float | None = setting(
        0.7,
        "Fraction of a chunk below which the next inference starts, in (0, 1]; "
        "'auto' derives it from the measured latency.",
        parse=parse_threshold,
    )
    chunk_entry: str = setting(
        "nearest", "Row at which a new chunk is merged.", choices=tuple(ENTRIES)
    )
    merge: str = setting(
        "crossfade", "How a new chunk replaces the queued one.", choices=STRATEGIES
    )
    crossfade_s: float = setting(0.2, "Duration of the crossfade, seconds.", 0.01, 5.0, unit="s")
    observation_tolerance_rad: float = setting(
        0.02,
        "Joint difference within which an unchanged scene is not inferred again, radians; "
        "0 infers every time.",
        0.0,
        1.0,
        unit="rad",
    )
    min_visual_streams: int = setting(
        1, "Streams that must be available for the arm to move.", 0, 64
    )
    slop_s: float = setting(
        0.03, "Largest distance of an image from its set, seconds.", 0.001, 1.0, unit="s"
    )
    max_wait_s: float = setting(
        0.1, "Wait of a set for a healthy stream's image, seconds.", 0.0, 1.0, unit="s"
    )
    max_set_age_s: float = setting(
        0.5, "Age above which the newest images are not used.", 0.05, 5.0, unit="s"
    )
    joint_states_timeout_s: float = setting(
        0.5, "Age of joint_states at which the arm holds.", 0.05, 5.0, unit="s"
    )
    pose_check: str = setting(
        "none",
        "Masks images that do not fit the joints: none, simulation, or a file of weights.",
    )
    realtime: bool = setting(True, _REALTIME)
    look_ahead_points: int = setting(5, "Points per message, one control period apart.", 1, 50)

    def __post_init__(self) -> None:
        if self.policy_chunking != "none" and self.chunk_entry != "stamp":
            raise ValueError(
                f"policy_chunking is '{self.policy_chunking}', which needs chunks merged at "
                f"their time stamp: chunk_entry is '{self.chunk_entry}'; expected 'stamp'"
            )


@dataclass(frozen=True)
class DriverSettings:
    """How the arm is driven: `so101_driver`."""

    port: str = setting("/dev/ttyACM0", "Serial port of the servo bus.")
    calibration: str = setting(
        str(Path.home() / ".ros" / "so101_calibration.json"),
        "Calibration of this arm, a JSON file in LeRobot's format.",
    )
    rate_hz: float = setting(100.0, "Rate of the control loop, Hz.", 10.0, 200.0, unit="Hz")
    max_velocity_rad_s: float = setting(
        3.0, "Speed limit of a joint, rad/s.", 0.01, 5.0, unit="rad/s"
    )
    max_acceleration_rad_s2: float = setting(
        30.0, "Acceleration limit of a joint, rad/s2.", 0.1, 200.0, unit="rad/s2"
    )
    command_timeout_s: float = setting(
        0.2, "Age of a trajectory from which the arm holds, s.", 0.02, 5.0, unit="s"
    )
    ramp_s: float = setting(
        1.0,
        "Time over which the speed limit rises after start, reset or a fault, s.",
        0.0,
        10.0,
        unit="s",
    )
    realtime: bool = setting(True, _REALTIME)
    autostart: bool = setting(True, "Configure and activate at start.")


@dataclass(frozen=True)
class StackSettings:
    """Everything that is set on a running robot, one section per file.

    Attributes:
        thresholds: of a stream's health, by kind; `rgb_node.yaml` and so on.
        counts: what the integers of cameras mean, by kind; of the same files.
        labeller: `segmentation_node.yaml`, beside its thresholds.
        policy: `policy_node.yaml`.
        driver: `so101_driver.yaml`.
        folder: where the files are.
    """

    thresholds: Mapping[str, Thresholds] = field(
        default_factory=lambda: {modality.name: modality.health for modality in modalities()}
    )
    counts: Mapping[str, Counts] = field(
        default_factory=lambda: {modality.name: modality.counts for modality in modalities()}
    )
    labeller: LabellerSettings = LabellerSettings()
    policy: PolicySettings = PolicySettings()
    driver: DriverSettings = DriverSettings()
    folder: Path | None = None

    def file(self, name: str) -> Path:
        """Path of another file or folder of the configuration; the shipped one if it has none.

        Raises:
            ValueError: the package was installed without it; one line.
        """
        own = self.folder and self.folder / name
        return own if own and own.exists() else shipped_config() / name


def shipped_config() -> Path:
    """The folder `config` as it was installed, or else of the source tree that this file is in.

    Raises:
        ValueError: the package was installed without it; one line.
    """
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    installed = [Path(prefix) / "share" / "multismolvla" for prefix in (*prefixes, sys.prefix)]
    for folder in (*installed, Path(__file__).parents[3]):
        if (folder / "config" / "streams.yaml").is_file():
            return folder / "config"
    raise ValueError(f"no config/streams.yaml in {', '.join(str(folder) for folder in installed)}")


def or_shipped(path: str | Path) -> Path:
    """A path that was given; where nothing is there, the installed file or folder of that name.

    Pages and `--help` name shipped files by their place in the repository, such as
    `config/faults/rgb_loss.yaml`; so they are found from every working directory.
    """
    path = Path(path)
    if path.parts[:1] == ("config",) and not path.exists():
        with contextlib.suppress(ValueError):  # Installed without: the path is reported as given.
            shipped = shipped_config().joinpath(*path.parts[1:])
            return shipped if shipped.exists() else path
    return path


def load_settings(folder: str | Path | None = None) -> StackSettings:
    """Read and check the parameter files of a folder; what it has no file for has its default.

    Args:
        folder: None for the configuration that was installed.

    Raises:
        ValueError: there is no such folder, or a key or value is wrong: one line that names file,
            key, value and what was expected.
    """
    folder = shipped_config() if folder is None else or_shipped(folder)
    settings = StackSettings(folder=folder)
    files = [*(f"{kind}_node.yaml" for kind in kinds()), "policy_node.yaml", "so101_driver.yaml"]
    if not any((folder / name).is_file() for name in files):
        raise ValueError(f"{folder}: no configuration; expected a folder with {', '.join(files)}")
    thresholds, counts, labeller = {}, {}, settings.labeller
    for modality in modalities():
        kind, path = modality.name, folder / f"{modality.name}_node.yaml"
        labels = [labeller] if kind == "segmentation" else []
        thresholds[kind], counts[kind], _, *labels = _read(
            path, modality.health, modality.counts, CameraSettings(), *labels
        )
        labeller = labels[0] if labels else labeller
    (policy,) = _read(folder / "policy_node.yaml", settings.policy)
    (driver,) = _read(folder / "so101_driver.yaml", settings.driver)
    return replace(
        settings,
        thresholds=thresholds,
        counts=counts,
        labeller=labeller,
        policy=policy,
        driver=driver,
    )


def _read(path: Path, *sections: Any) -> list[Any]:
    """The sections, given with their defaults, with the values of a parameter file."""
    if not path.is_file():
        return list(sections)
    try:
        content = yaml_value(path.read_text())
        values = _parameters(content)
        known = [item for section in sections for item in settings_of(section)]
        reject_unknown_keys(values, known)
        return [with_values(section, values) for section in sections]
    except OSError as error:
        raise ValueError(f"{path}: cannot read it: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {one_line(error)}") from None


def _parameters(content: object) -> Mapping[str, Any]:
    if isinstance(content, dict) and set(content) == {"/**"} and isinstance(content["/**"], dict):
        values = content["/**"].get("ros__parameters")
        if set(content["/**"]) == {"ros__parameters"} and isinstance(values, dict):
            return values
    raise ValueError("expected a ROS parameter file: '/**', in it 'ros__parameters', in it values")
