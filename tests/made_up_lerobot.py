"""A LeRobot data set of six rows as LeRobot 0.4 writes it, in degrees, to be spoilt by a test."""

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multismolvla.data import lerobot_layout as layout
from multismolvla.data.lerobot_statistics import joint_statistics

JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
FPS, ROWS, CAMERA = 30, 6, "observation.images.front"
DATA = "data/chunk-000/file-000.parquet"


def states(rows: int = ROWS) -> np.ndarray:
    """(rows, 6) degrees, the gripper in per cent; shoulder_pan goes beyond 100."""
    rise = np.arange(rows)[:, None] * np.ones(6)
    return (rise + np.array([105.0 - rows, -60.0, 20.0, 30.0, 10.0, 50.0])).astype(np.float32)


def png(grey: int = 0) -> bytes:
    return cv2.imencode(".png", np.full((4, 4, 3), grey, np.uint8))[1].tobytes()


def make_set(folder: Path, episodes: int = 1, rows: int = ROWS) -> Path:
    """Write the data set and return its folder."""
    numbers = {"dtype": "float32", "shape": [6], "names": [f"{name}.pos" for name in JOINTS]}
    single = {"shape": [1], "names": None}
    info = {
        "codebase_version": "v3.0",
        "robot_type": "so101_follower",
        "total_episodes": episodes,
        "total_frames": episodes * rows,
        "total_tasks": 1,
        "fps": FPS,
        "data_path": layout.DATA,
        "video_path": None,
        "features": {
            CAMERA: {
                "dtype": "image",
                "shape": [4, 4, 3],
                "names": ["height", "width", "channels"],
            },
            layout.STATE: numbers,
            layout.ACTION: numbers,
            "timestamp": single | {"dtype": "float32"},
            **{
                name: single | {"dtype": "int64"}
                for name in ("frame_index", "episode_index", "index", "task_index")
            },
        },
    }
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    (folder / "data/chunk-000").mkdir(parents=True)
    (folder / layout.INFO).write_text(json.dumps(info))
    layout.write_tasks(folder / layout.TASKS, {"fold it": 0})
    entries = [
        {
            "episode_index": number,
            "tasks": ["fold it"],
            "length": rows,
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": number * rows,
            "dataset_to_index": (number + 1) * rows,
        }
        for number in range(episodes)
    ]
    pq.write_table(pa.Table.from_pylist(entries), folder / layout.EPISODES)
    state = np.tile(states(rows), (episodes, 1))
    places = np.tile(np.arange(rows), episodes)
    columns = {
        CAMERA: [{"bytes": png(10 * int(place) % 256), "path": None} for place in places],
        layout.STATE: state.tolist(),
        layout.ACTION: (state + 0.5).tolist(),
        "timestamp": pa.array(places / FPS, pa.float32()),
        "frame_index": places,
        "episode_index": np.repeat(np.arange(episodes), rows),
        "index": np.arange(episodes * rows),
        "task_index": np.zeros(episodes * rows, np.int64),
    }
    pq.write_table(pa.table(columns), folder / DATA)
    found = {layout.STATE: joint_statistics(state), layout.ACTION: joint_statistics(state + 0.5)}
    (folder / layout.STATS).write_text(json.dumps(found))
    return folder


def edit_info(folder: Path, **changes: object) -> None:
    """Set keys of info.json; `features__action__names` is a key within; ... removes one."""
    info = json.loads((folder / layout.INFO).read_text())
    for name, value in changes.items():
        *way, last = name.split("__")
        place = info
        for key in way:
            place = place[{"state": layout.STATE, "front": CAMERA}.get(key, key)]
        last = {"state": layout.STATE, "front": CAMERA}.get(last, last)
        if value is ...:
            del place[last]
        else:
            place[last] = value
    (folder / layout.INFO).write_text(json.dumps(info))


def edit_table(folder: Path, name: str, **changes: object) -> None:
    """Set columns of a parquet file; ... removes one. `state` stands for observation.state."""
    table = pq.read_table(folder / name)
    for key, value in changes.items():
        key = {"state": layout.STATE, "front": CAMERA}.get(key, key).replace("__", "/")
        if value is ...:
            table = table.drop_columns([key])
        elif key in table.column_names:
            place = table.column_names.index(key)
            table = table.set_column(place, key, pa.chunked_array([pa.array(value)]))
        else:
            table = table.append_column(key, pa.chunked_array([pa.array(value)]))
    pq.write_table(table, folder / name)
