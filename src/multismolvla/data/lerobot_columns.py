"""From an episode's arrays to the parquet columns of a LeRobot data set."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multismolvla.data import lerobot_layout as layout
from multismolvla.data.episode import Episode, EpisodeError
from multismolvla.data.units import STORED_DTYPES, kind_of


def newest_frames(
    episode: Episode, stream: str, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Frames with a black one behind them, and per row the index of the newest; -1 is the black."""
    rows = np.arange(len(episode))
    black = np.zeros((1, *shape), STORED_DTYPES[kind_of(stream)])
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
        "field_name": layout.TASK_COLUMN,
        "pandas_type": "unicode",
        "numpy_type": "object",
        "metadata": None,
    }
    number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64"}
    described = {
        "index_columns": [layout.TASK_COLUMN],
        "column_indexes": [],
        "columns": [number | {"numpy_type": "int64", "metadata": None}, index],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.3.3",
    }
    table = pa.table(
        {"task_index": pa.array(tasks.values(), pa.int64()), layout.TASK_COLUMN: list(tasks)}
    )
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(described)}), path)
