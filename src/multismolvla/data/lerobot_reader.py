"""Reads LeRobot data sets v3.0: our own without loss, the community's with a map of cameras."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multismolvla.data import lerobot_layout as layout
from multismolvla.data.episode import CHUNK_ROWS, Episode, EpisodeError
from multismolvla.embodiment.description import Embodiment
from multismolvla.modalities.registry import modality_of
from multismolvla.one_line import one_line

# Frames of a stretch of a video file: AV1, H.264 or whatever else FFmpeg decodes.


def read_frames(path: Path, start_s: float, count: int, fps: float) -> list[np.ndarray]:
    """`count` frames (H, W, 3) uint8 RGB from `start_s` on, one per 1/fps.

    Raises:
        ValueError: the file cannot be read, or has fewer frames there.
    """
    frames: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            # To the key frame before; what lies between is decoded and dropped.
            container.seek(max(0, int(start_s / stream.time_base)), stream=stream)
            for frame in container.decode(stream):
                if frame.time is not None and frame.time < start_s - 0.5 / fps:
                    continue
                frames.append(frame.to_ndarray(format="rgb24"))
                if len(frames) == count:
                    return frames
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise ValueError(f"{path}: cannot read the video: {one_line(error)}") from None
    raise ValueError(f"{path}: has {len(frames)} frames from {start_s:.2f} s on, not {count}")


Resize = Callable[[str, np.ndarray], np.ndarray]


def is_lerobot(folder: Path) -> bool:
    """Whether the folder holds a LeRobot data set, of whatever version."""
    return (folder / layout.INFO).is_file()


class LeRobotReader:
    """The episodes of a data set by their number.

    Args:
        folder: of the data set.
        embodiment: the arm that it is of.
        cameras: camera of the data set, with or without `observation.images.` -> our stream. For
            the data sets of others; streams that no camera is mapped to do not exist in the
            episodes, which masks them in training. Ours know their own; without a map, cameras
            that `Embodiment.lerobot` names are known as well.
        units: of joints: `lerobot` (degrees, gripper in per cent) or `radians`. Ours say it.
        resize: (stream, frame) -> frame, for cameras of another size than the stream's.
    """

    def __init__(
        self,
        folder: str | Path,
        embodiment: Embodiment,
        cameras: Mapping[str, str] | None = None,
        units: str = "lerobot",
        resize: Resize | None = None,
    ) -> None:
        """
        Raises:
            EpisodeError: it is no data set v3.0 of this arm, or a camera is not in it.
        """
        self.folder = Path(folder)
        self._embodiment = embodiment
        self._info = self._json(layout.INFO)
        version = self._info.get("codebase_version")
        if version != layout.VERSION:
            raise EpisodeError(
                f"{folder}: is a LeRobot data set {version}, expected {layout.VERSION}; convert it "
                "with lerobot.datasets.v30.convert_dataset_v21_to_v30"
            )
        self._own = self._json(layout.OWN) if (self.folder / layout.OWN).is_file() else None
        self._units = self._own["units"] if self._own else units
        self._resize = resize
        self._cameras = self._choose_cameras(cameras)
        for key in (layout.STATE, layout.ACTION):
            self._check_names(key)
        tasks = self._table(layout.TASKS)
        names = layout.TASK_COLUMN if layout.TASK_COLUMN in tasks.column_names else "task"
        self._tasks = dict(
            zip(tasks["task_index"].to_pylist(), tasks[names].to_pylist(), strict=True)
        )
        self._episodes = [
            row
            for path in sorted((self.folder / "meta" / "episodes").glob("*/*.parquet"))
            for row in _without_statistics(path)
        ]

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self._episodes)

    def read(self, number: int) -> Episode:
        """Read an episode.

        Raises:
            EpisodeError: its files are missing, damaged or not decodable; one line.
        """
        entry = self._episodes[number]
        path = self.folder / self._info["data_path"].format(
            chunk_index=entry["data/chunk_index"], file_index=entry["data/file_index"]
        )
        try:
            chosen = [("episode_index", "=", entry["episode_index"])]
            table = pq.read_table(path, filters=chosen)
            if not len(table):
                raise EpisodeError("the file has no row of the episode")
            make = self._own_episode if self._own else self._foreign_episode
            return make(entry, table.combine_chunks())
        except (OSError, ValueError, KeyError, pa.ArrowException, cv2.error) as error:
            reason = one_line(error)
            raise EpisodeError(f"{path}: episode {entry['episode_index']}: {reason}") from None

    def _own_episode(self, entry: dict, table: pa.Table) -> Episode:
        rows = len(table)
        fresh, available = _matrix(table, layout.FRESH), _matrix(table, layout.AVAILABLE)
        frames, frame_index, masks = {}, {}, {}
        order = {stream: place for place, stream in enumerate(self._own["cameras"].values())}
        for key, stream in self._cameras.items():
            if stream not in entry["streams"]:
                continue
            index = np.flatnonzero(fresh[:, order[stream]])
            images = table[key].combine_chunks().field("bytes").take(pa.array(index))
            frames[stream] = np.stack([self._decoded(stream, data.as_py()) for data in images])
            frame_index[stream], masks[stream] = index, available[index, order[stream]].astype(bool)
        actions = len(self._embodiment.action_names)
        chunks = _matrix(table, layout.CHUNK).reshape(rows, CHUNK_ROWS, actions)
        known = np.isfinite(chunks).all(2)
        chunk_index = np.flatnonzero(known[:, 0])
        length = int(known[chunk_index].all(0).sum()) if len(chunk_index) else CHUNK_ROWS
        poses = {}
        if self._own["objects"]:
            values = _matrix(table, layout.OBJECTS).astype(np.float64)
            for place, name in enumerate(self._own["objects"]):
                if name in entry["objects"]:
                    poses[name] = values[:, 7 * place : 7 * place + 7]
        return Episode(
            instruction=entry["tasks"][0],
            joints=self._embodiment.state_names,
            stamps_ns=self._stamps_ns(rows),
            state=self._numbers(table, layout.STATE),
            action=self._numbers(table, layout.ACTION),
            executed=self._numbers(table, layout.ACTION, layout.EXECUTED),
            frames=frames,
            frame_index=frame_index,
            masks=masks,
            object_poses=poses,
            success=entry["success"],
            meta=json.loads(entry["meta"]),
            chunks=chunks[chunk_index, :length],
            chunk_index=chunk_index,
            action_space=self._embodiment.action,
        )

    def _foreign_episode(self, entry: dict, table: pa.Table) -> Episode:
        """Joints interpolated to our control rate, each frame at the row nearest to it.

        Steps are not interpolated: the rows are the arm's control steps, whatever rate the data set
        claims. LIBERO's say 10 a second, and are of a controller that takes 20.
        """
        space = self._embodiment.action_space
        count, fps = len(table), float(self._info["fps"])
        period_s = space.period_s
        times_s = np.arange(count) * period_s if space.deltas else np.arange(count) / fps
        rows_s = np.arange(int(times_s[-1] / period_s + 1e-6) + 1) * period_s
        index = np.minimum(np.rint(times_s / period_s).astype(np.int64), len(rows_s) - 1)

        def at_our_rate(key: str) -> np.ndarray:
            numbers = self._numbers(table, key)
            if space.deltas:
                return numbers
            return np.stack([np.interp(rows_s, times_s, joint) for joint in numbers.T], axis=1)

        frames = {}
        for key, stream in self._cameras.items():
            if self._info["features"][key]["dtype"] == "video":
                path = self.folder / self._info["video_path"].format(
                    video_key=key,
                    chunk_index=entry[f"videos/{key}/chunk_index"],
                    file_index=entry[f"videos/{key}/file_index"],
                )
                start_s = entry[f"videos/{key}/from_timestamp"]
                pictures = read_frames(path, start_s, count, fps)
                frames[stream] = np.stack([self._sized(stream, picture) for picture in pictures])
            else:
                images = table[key].combine_chunks().field("bytes")
                frames[stream] = np.stack([self._decoded(stream, data.as_py()) for data in images])
        action = at_our_rate(layout.ACTION)
        task = self._tasks[table["task_index"][0].as_py()]
        return Episode(
            instruction=task,
            joints=self._embodiment.state_names,
            stamps_ns=self._stamps_ns(len(rows_s)),
            state=at_our_rate(layout.STATE),
            action=action,
            executed=action,
            frames=frames,
            frame_index=dict.fromkeys(frames, index),
            masks=dict.fromkeys(frames, np.ones(count, bool)),
            object_poses={},
            # Data sets rarely hold failed demonstrations.
            success=True,
            meta={"source": f"lerobot:{self.folder.name}", "episode": entry["episode_index"]},
            action_space=self._embodiment.action,
        )

    def _stamps_ns(self, rows: int) -> np.ndarray:
        period_ns = round(self._embodiment.action_space.period_s * 1e9)
        return np.arange(rows, dtype=np.int64) * period_ns

    def _numbers(self, table: pa.Table, key: str, column: str = "") -> np.ndarray:
        """(rows, width) of `STATE` or `ACTION`, or of another column that holds the same."""
        values = _matrix(table, column or key)
        if not layout.is_joints(self._embodiment, key):
            return values.astype(np.float64)
        return layout.to_radians(values, self._units, self._embodiment)

    def _decoded(self, stream: str, data: bytes) -> np.ndarray:
        frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if frame is None:
            raise EpisodeError(f"an image of {stream} cannot be decoded")
        if modality_of(stream).channels == 3:
            frame = frame[..., :3] if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=2)
            return self._sized(stream, np.ascontiguousarray(frame[..., ::-1]))
        return self._sized(stream, frame)

    def _sized(self, stream: str, frame: np.ndarray) -> np.ndarray:
        return frame if self._resize is None else self._resize(stream, frame)

    def _choose_cameras(self, cameras: Mapping[str, str] | None) -> dict[str, str]:
        """Feature -> stream."""
        known = [
            key
            for key, value in self._info["features"].items()
            if value["dtype"] in ("image", "video")
        ]
        if cameras is None:
            named = {
                layout.camera_key(stream, self._embodiment): stream
                for stream, _ in self._embodiment.lerobot.cameras
            }
            if self._own is None and named and named.keys() <= set(known):
                return named
            if self._own is None:
                raise EpisodeError(
                    f"{self.folder}: say which camera is which stream; "
                    f"the data set has {', '.join(known) or 'none'}"
                )
            return dict(self._own["cameras"])
        chosen = {}
        for name, stream in cameras.items():
            key = name if name in known else f"observation.images.{name}"
            if key not in known:
                raise EpisodeError(
                    f"{self.folder}: has no camera '{name}'; it has {', '.join(known)}"
                )
            modality_of(stream)  # refuses a stream of no kind
            chosen[key] = stream
        return chosen

    def _check_names(self, key: str) -> None:
        about = self._info["features"].get(key, {})
        names = about.get("names") or []
        # Older data sets nest the list under a word such as `motors`.
        if isinstance(names, dict):
            names = next(iter(names.values()), [])
        found = tuple(str(name).removesuffix(".pos").removeprefix("main_") for name in names)
        expected = layout.number_names(self._embodiment, key)
        # Some sets of an arm without joints name the column once, for all of its numbers.
        unnamed = not layout.is_joints(self._embodiment, key) and len(found) <= 1
        if unnamed and about.get("shape") == [len(expected)]:
            return
        if found != expected:
            raise EpisodeError(
                f"{self.folder}: {key} is {', '.join(found) or 'missing'}; "
                f"expected {', '.join(expected)}"
            )

    def _table(self, name: str) -> pa.Table:
        try:
            return pq.read_table(self.folder / name)
        except (OSError, pa.ArrowException) as error:
            reason = one_line(error)
            raise EpisodeError(f"{self.folder / name}: cannot be read: {reason}") from None

    def _json(self, name: str) -> dict:
        path = self.folder / name
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise EpisodeError(f"{path}: cannot be read: {one_line(error)}") from None


def _without_statistics(path: Path) -> list[dict]:
    try:
        file = pq.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
        return file.read(columns=names).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise EpisodeError(f"{path}: cannot be read: {one_line(error)}") from None


def _matrix(table: pa.Table, key: str) -> np.ndarray:
    """(rows, width) of a column of lists, or of plain values where the width is 1."""
    column = table[key].combine_chunks()
    listed = not pa.types.is_primitive(column.type)
    flat = (column.flatten() if listed else column).to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)
