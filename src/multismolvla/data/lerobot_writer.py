"""Writes episodes as a LeRobot data set v3.0: one row per control step, images as PNG.

Cameras are slower than the control loop, so an image stays for the rows until the next one; the
columns' dictionaries keep its bytes once.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multismolvla.data import lerobot_layout as layout
from multismolvla.data.episode import CHUNK_ROWS, Episode, EpisodeError
from multismolvla.data.lerobot_layout import (
    column,
    column_type,
    newest_frames,
    png,
    write_tasks,
)
from multismolvla.data.lerobot_statistics import FeatureStatistics
from multismolvla.embodiment.description import Embodiment

MAX_FILE_BYTES = 100_000_000
FILES_PER_FOLDER = 1000
# An episode's images of one stream; the default megabyte would give up on them.
_DICTIONARY_BYTES = 2**30


class LeRobotWriter:
    """Collects episodes; the folder appears complete or not at all. Use as a context.

    Args:
        folder: of the data set; must not exist.
        embodiment: the arm of the episodes.
        shapes: stream -> (H, W) or (H, W, 3). Every image column has a value in every row, so an
            episode that lacks a stream gets black images there, marked as not available.
        objects: names of the objects whose poses are kept.
    """

    def __init__(
        self,
        folder: Path,
        embodiment: Embodiment,
        shapes: dict[str, tuple[int, ...]],
        objects: tuple[str, ...],
    ) -> None:
        """
        Raises:
            EpisodeError: the folder exists.
        """
        self._folder = Path(folder)
        if self._folder.exists():
            raise EpisodeError(f"{folder}: exists already; name another folder")
        self._workplace = self._folder.parent / f".writing-{self._folder.name}"
        self._embodiment, self._shapes, self._objects = embodiment, shapes, objects
        self._features = layout.features(embodiment, shapes, objects)
        self._cameras = {stream: layout.camera_key(stream, embodiment) for stream in shapes}
        self._schema = pa.schema(
            [(key, column_type(value)) for key, value in self._features.items()]
        )
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict] = []
        self._rows = 0
        self._file_number = -1
        self._file: pq.ParquetWriter | None = None
        self._statistics = FeatureStatistics()

    def __enter__(self) -> LeRobotWriter:
        shutil.rmtree(self._workplace, ignore_errors=True)
        (self._workplace / "meta").mkdir(parents=True)
        return self

    def add(self, episode: Episode) -> None:
        """Add an episode.

        Raises:
            EpisodeError: a stream has another size than the data set, or chunks are too long,
                or the rows another period.
            EmbodimentError: it is an episode of another arm.
        """
        arm = self._embodiment
        arm.check_data(episode.joints, episode.action_names, str(self._folder))
        if episode.period_s != arm.action_space.period_s:
            raise EpisodeError(
                f"period_s is {episode.period_s}; expected {arm.action_space.period_s}, "
                f"that of the arm '{arm.name}'"
            )
        rows = len(episode)
        statistics = FeatureStatistics()
        columns: dict[str, object] = {}
        fresh = np.zeros((rows, len(self._shapes)), bool)
        available = np.zeros((rows, len(self._shapes)), bool)
        for place, (stream, shape) in enumerate(self._shapes.items()):
            frames, newest = newest_frames(episode, stream, shape)
            encoded = pa.array([png(stream, frame) for frame in frames], pa.binary())
            # The last one stands for "none yet".
            bytes_column = encoded.take(pa.array(newest % len(frames)))
            columns[self._cameras[stream]] = pa.StructArray.from_arrays(
                [bytes_column, pa.nulls(rows, pa.string())], ["bytes", "path"]
            )
            statistics.add_images(self._cameras[stream], frames[:-1])
            if stream in episode.frames:
                fresh[episode.frame_index[stream], place] = True
                masks = np.append(episode.masks[stream], False)
                available[:, place] = masks[newest]
        chunks = np.full((rows, CHUNK_ROWS * len(arm.action_names)), np.nan, np.float32)
        if len(episode.chunks):
            # Those of fewer rows leave the rest unknown.
            flat = episode.chunks.reshape(len(episode.chunks), -1)
            if flat.shape[1] > chunks.shape[1]:
                raise EpisodeError(
                    f"chunks have {episode.chunks.shape[1]} rows; expected at most {CHUNK_ROWS}"
                )
            chunks[episode.chunk_index, : flat.shape[1]] = flat
        task = self._tasks.setdefault(episode.instruction, len(self._tasks))
        numbers = {
            layout.STATE: episode.state,
            layout.ACTION: episode.action,
            layout.EXECUTED: episode.executed,
            "timestamp": np.arange(rows) / layout.fps(arm),
            "frame_index": np.arange(rows),
            "episode_index": np.full(rows, len(self._episodes)),
            "index": self._rows + np.arange(rows),
            "task_index": np.full(rows, task),
        }
        if self._objects:
            unknown = np.full((rows, len(layout.POSE)), np.nan)
            poses = [episode.object_poses.get(name, unknown) for name in self._objects]
            numbers[layout.OBJECTS] = np.concatenate(poses, axis=1)
        for key, values in numbers.items():
            statistics.add_numbers(key, values.reshape(rows, -1))
        numbers |= {layout.CHUNK: chunks, layout.FRESH: fresh, layout.AVAILABLE: available}
        columns |= {
            key: column(values, self._schema.field(key).type) for key, values in numbers.items()
        }
        where = self._place()
        self._file.write_table(
            pa.table([columns[name] for name in self._schema.names], schema=self._schema)
        )
        self._statistics.merge(statistics)
        self._episodes.append(
            {
                "episode_index": len(self._episodes),
                "tasks": [episode.instruction],
                "length": rows,
                "dataset_from_index": self._rows,
                "dataset_to_index": self._rows + rows,
                "data/chunk_index": where[0],
                "data/file_index": where[1],
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                "success": bool(episode.success),
                "streams": list(episode.streams),
                "objects": list(episode.object_poses),
                "meta": json.dumps(dict(episode.meta)),
                **{
                    f"stats/{key}/{measure}": value
                    for key, measures in statistics.result().items()
                    for measure, value in measures.items()
                },
            }
        )
        self._rows += rows

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._file is not None:
                self._file.close()
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._workplace, ignore_errors=True)

    def _place(self) -> tuple[int, int]:
        """Chunk and file of the next episode, opened."""
        path = self._path()
        if self._file is None or path.stat().st_size > MAX_FILE_BYTES:
            if self._file is not None:
                self._file.close()
            self._file_number += 1
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = pq.ParquetWriter(
                path,
                self._schema,
                compression="snappy",
                use_dictionary=[f"{camera}.bytes" for camera in self._cameras.values()],
                dictionary_pagesize_limit=_DICTIONARY_BYTES,
            )
        return divmod(self._file_number, FILES_PER_FOLDER)

    def _path(self) -> Path:
        chunk, file = divmod(max(self._file_number, 0), FILES_PER_FOLDER)
        return self._workplace / layout.DATA.format(chunk_index=chunk, file_index=file)

    def _finish(self) -> None:
        if not self._episodes:
            raise EpisodeError(f"{self._folder}: no episodes to write")
        arm = self._embodiment
        info = {
            "codebase_version": layout.VERSION,
            "robot_type": arm.lerobot.robot_type or f"{arm.name}_follower",
            "total_episodes": len(self._episodes),
            "total_frames": self._rows,
            "total_tasks": len(self._tasks),
            "chunks_size": FILES_PER_FOLDER,
            "data_files_size_in_mb": MAX_FILE_BYTES // 10**6,
            "video_files_size_in_mb": 200,
            "fps": layout.fps(arm),
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": layout.DATA,
            "video_path": None,
            "features": self._features,
        }
        own = {
            "units": "radians",
            "cameras": {camera: stream for stream, camera in self._cameras.items()},
            "objects": list(self._objects),
        }
        for name, content in (
            (layout.INFO, info),
            (layout.OWN, own),
            (layout.STATS, self._statistics.result()),
        ):
            (self._workplace / name).write_text(json.dumps(content, indent=4) + "\n")
        write_tasks(self._workplace / layout.TASKS, self._tasks)
        path = self._workplace / layout.EPISODES
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), path)
        self._workplace.rename(self._folder)
