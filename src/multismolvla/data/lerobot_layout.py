"""Where things are in a LeRobot data set v3.0, and what its columns are called.

Our own columns beside LeRobot's carry no prefix that LeRobot's policies look for (`observation.`,
`action`), so that one of them trained on the folder sees cameras, state and action only.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multismolvla.data.episode import CHUNK_ROWS, Episode, EpisodeError
from multismolvla.embodiment.description import Embodiment
from multismolvla.modalities.registry import modality_of

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES_FOLDER = "meta/episodes"
EPISODES = f"{EPISODES_FOLDER}/chunk-000/file-000.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
# What LeRobot has no place for, in a file of our own.
OWN = "meta/multismolvla.json"

STATE, ACTION = "observation.state", "action"
CAMERA_PREFIX = "observation.images."
EXECUTED, CHUNK, OBJECTS = "executed_action", "expert_chunk", "object_poses"
# Per stream: whether this row's image is a new frame, and whether it may be used.
FRESH, AVAILABLE = "stream_fresh", "stream_available"
# The pandas index of tasks.parquet where it has no name.
TASK_COLUMN = "__index_level_0__"
POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")


def camera_key(stream: str, embodiment: Embodiment) -> str:
    """`observation.images.wrist_rgb` for `wrist/rgb`, unless the arm's data sets name it."""
    camera = dict(embodiment.lerobot.cameras).get(stream, stream.replace("/", "_"))
    return f"{CAMERA_PREFIX}{camera}"


def feature(dtype: str, shape: tuple[int, ...], names: object) -> dict:
    return {"dtype": dtype, "shape": list(shape), "names": names}


def fps(embodiment: Embodiment) -> int:
    """Rows a second of the data sets of an arm."""
    return round(1.0 / embodiment.action_space.period_s)


def number_names(embodiment: Embodiment, key: str) -> tuple[str, ...]:
    """What `STATE` or `ACTION` of a data set of the arm calls its numbers, without `.pos`."""
    if key == STATE:
        return embodiment.lerobot.state or embodiment.state_names
    return embodiment.lerobot.action or embodiment.action_names


def is_joints(embodiment: Embodiment, key: str) -> bool:
    """Whether the numbers of `STATE` or `ACTION` are angles of the arm's joints."""
    return not embodiment.state if key == STATE else embodiment.commands_joints


def _numbers_feature(embodiment: Embodiment, key: str) -> dict:
    names: object = [f"{name}.pos" for name in number_names(embodiment, key)]
    if not is_joints(embodiment, key):
        # LIBERO's data sets nest the list, which lets a name be there twice.
        names = {"motors": list(number_names(embodiment, key))}
    return feature("float32", (len(number_names(embodiment, key)),), names)


def features(
    embodiment: Embodiment, shapes: dict[str, tuple[int, ...]], objects: tuple[str, ...]
) -> dict[str, dict]:
    """`features` of info.json: the arm, streams with frames of these shapes, objects."""
    streams, actions = list(shapes), len(embodiment.action_names)
    found = {
        camera_key(stream, embodiment): feature(
            "image", (*shape[:2], 3 if len(shape) == 3 else 1), ["height", "width", "channels"]
        )
        for stream, shape in shapes.items()
    }
    found |= {
        STATE: _numbers_feature(embodiment, STATE),
        ACTION: _numbers_feature(embodiment, ACTION),
        EXECUTED: _numbers_feature(embodiment, ACTION),
        CHUNK: feature("float32", (CHUNK_ROWS * actions,), None),
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


# From an episode's arrays to the parquet columns of a LeRobot data set.


def newest_frames(
    episode: Episode, stream: str, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Frames with a black one behind them, and per row the index of the newest; -1 is the black."""
    rows = np.arange(len(episode))
    black = np.zeros((1, *shape), modality_of(stream).counts.dtype)
    if stream not in episode.frames:
        return black, np.full(len(rows), -1)
    frames = episode.frames[stream]
    if frames.shape[1:] != tuple(shape):
        raise EpisodeError(f"{stream} has frames {frames.shape[1:]}; the data set has {shape}")
    newest = np.searchsorted(episode.frame_index[stream], rows, side="right") - 1
    return np.concatenate([frames, black]), newest


def png(stream: str, frame: np.ndarray) -> bytes:
    """A stored frame as PNG: 8-bit colour, 8-bit or 16-bit grey."""
    picture = frame[..., ::-1] if frame.ndim == 3 else frame
    # Level 1 is a third larger than level 9 at best, and ten times faster.
    done, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise EpisodeError(f"a frame of {stream} cannot be written as PNG")
    return data.tobytes()


def column_type(feature: dict) -> pa.DataType:
    """What a feature of info.json is in parquet."""
    if feature["dtype"] == "image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    value = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}[feature["dtype"]]
    return value if feature["shape"] == [1] else pa.list_(value, feature["shape"][0])


def column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Values (rows, width), or (rows,) where a row has one."""
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values.reshape(-1), kind)
    flat = pa.array(values.reshape(-1)).cast(kind.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, kind.list_size)


def write_tasks(path: Path, tasks: dict[str, int]) -> None:
    """task_index by instruction, in the form in which pandas finds its index again."""
    index = {
        "name": None,
        "field_name": TASK_COLUMN,
        "pandas_type": "unicode",
        "numpy_type": "object",
        "metadata": None,
    }
    number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64"}
    described = {
        "index_columns": [TASK_COLUMN],
        "column_indexes": [],
        "columns": [number | {"numpy_type": "int64", "metadata": None}, index],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.3.3",
    }
    table = pa.table({"task_index": pa.array(tasks.values(), pa.int64()), TASK_COLUMN: list(tasks)})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(described)}), path)
