"""Where things are in a LeRobot data set v3.0, and what its columns are called.

Our own columns beside LeRobot's carry no prefix that LeRobot's policies look for (`observation.`,
`action`), so that one of them trained on the folder sees cameras, state and action only.
"""

from __future__ import annotations

import math

import numpy as np

from multismolvla.arm import JOINT_LOWER_RAD, JOINT_NAMES, JOINT_UPPER_RAD
from multismolvla.data.episode import CHUNK_ROWS, EpisodeError

VERSION = "v3.0"
FPS = 30
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
# What LeRobot has no place for, in a file of our own.
OWN = "meta/multismolvla.json"

STATE, ACTION = "observation.state", "action"
EXECUTED, CHUNK, OBJECTS = "executed_action", "expert_chunk", "object_poses"
# Per stream: whether this row's image is a new frame, and whether it may be used.
FRESH, AVAILABLE = "stream_fresh", "stream_available"
# The pandas index of tasks.parquet.
TASK_COLUMN = "__index_level_0__"
UNITS = ("lerobot", "radians")
POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")


def camera_key(stream: str) -> str:
    """`observation.images.wrist_rgb` for `wrist/rgb`."""
    return f"observation.images.{stream.replace('/', '_')}"


def feature(dtype: str, shape: tuple[int, ...], names: list[str] | None) -> dict:
    return {"dtype": dtype, "shape": list(shape), "names": names}


def joint_feature() -> dict:
    return feature("float32", (len(JOINT_NAMES),), [f"{name}.pos" for name in JOINT_NAMES])


def features(shapes: dict[str, tuple[int, ...]], objects: tuple[str, ...]) -> dict[str, dict]:
    """`features` of info.json for streams with frames of these shapes, and these objects."""
    streams = list(shapes)
    found = {
        camera_key(stream): feature(
            "image", (*shape[:2], 3 if len(shape) == 3 else 1), ["height", "width", "channels"]
        )
        for stream, shape in shapes.items()
    }
    found |= {
        STATE: joint_feature(),
        ACTION: joint_feature(),
        EXECUTED: joint_feature(),
        CHUNK: feature("float32", (CHUNK_ROWS * len(JOINT_NAMES),), None),
        FRESH: feature("bool", (len(streams),), streams),
        AVAILABLE: feature("bool", (len(streams),), streams),
    }
    if objects:
        names = [f"{name}.{part}" for name in objects for part in POSE]
        found[OBJECTS] = feature("float32", (len(names),), names)
    found["timestamp"] = feature("float32", (1,), None)
    for name in ("frame_index", "episode_index", "index", "task_index"):
        found[name] = feature("int64", (1,), None)
    return found


def to_radians(values: np.ndarray, units: str) -> np.ndarray:
    """Joints (..., 6) of a data set in radians: LeRobot has degrees and, for the gripper, per cent.

    Raises:
        EpisodeError: there are no such units.
    """
    if units == "radians":
        return values.astype(np.float64)
    if units != "lerobot":
        raise EpisodeError(f"units are '{units}'; expected {' or '.join(UNITS)}")
    gripper = JOINT_NAMES.index("gripper")
    scale = np.full(len(JOINT_NAMES), math.pi / 180.0)
    offset = np.zeros(len(JOINT_NAMES))
    scale[gripper] = (JOINT_UPPER_RAD[gripper] - JOINT_LOWER_RAD[gripper]) / 100.0
    offset[gripper] = JOINT_LOWER_RAD[gripper]
    return values * scale + offset
