"""Writes the training cache that `cache.py` reads: arrays grow as episodes are added."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from multismolvla.data.cache import ARRAYS, FORMAT, INDEX_FILE, CacheError, array_file
from multismolvla.data.episode import CHUNK_ROWS, Episode
from multismolvla.modalities.registry import modality_of

# From an episode to what a learner is shown: one sample per instant at which cameras looked.


@dataclass(frozen=True)
class Samples:
    """n samples of one episode.

    Attributes:
        rows: (n,) int64 rows of the episode.
        frame_of: stream -> (n,) int64 index into the episode's frames, -1 where there is none that
            may be used.
        state: (n, S) float32.
        chunk: (n, K, A) float32.
    """

    rows: np.ndarray
    frame_of: Mapping[str, np.ndarray]
    state: np.ndarray
    chunk: np.ndarray


def samples_of(episode: Episode, every: int = 1, chunk_rows: int = CHUNK_ROWS) -> Samples:
    """The samples of every `every`-th row that has a frame of any stream.

    Frames belong together if they belong to the same row: the episode's source has brought them
    together. A stream without a frame at a row, or with one that may not be used, is masked there.
    An episode recorded without frames has samples where the expert gave a chunk.
    """
    indices = [np.asarray(index, np.int64) for index in episode.frame_index.values()]
    indices = indices or [np.asarray(episode.chunk_index, np.int64)]
    rows = np.unique(np.concatenate(indices))[::every]
    frame_of = {}
    for stream, index in episode.frame_index.items():
        # Of two frames of one row the later one counts.
        place = np.searchsorted(index, rows, side="right") - 1
        there = (place >= 0) & (index[place] == rows) & episode.masks[stream][place]
        frame_of[stream] = np.where(there, place, -1)
    chunk = np.zeros((len(rows), chunk_rows, episode.action.shape[1]), np.float32)
    for number, row in enumerate(rows.tolist()):
        chunk[number] = episode.chunk_at(row, chunk_rows)
    return Samples(rows, frame_of, episode.state[rows].astype(np.float32), chunk)


def sample_layout(
    streams: Mapping[str, tuple[int, int]],
    states: int,
    actions: int,
    objects: int,
    chunk_rows: int = CHUNK_ROWS,
) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Array -> type and shape of one sample, for streams of (height, width); see `cache.Batch`.

    Args:
        states, actions: how many numbers a state and an action have.
    """
    layout: dict[str, tuple[np.dtype, tuple[int, ...]]] = {
        "mask": (np.dtype(bool), (len(streams),)),
        "state": (np.dtype(np.float32), (states,)),
        "chunk": (np.dtype(np.float32), (chunk_rows, actions)),
        "instruction": (np.dtype(np.int64), ()),
        "object_poses": (np.dtype(np.float32), (objects, 7)),
        "episode": (np.dtype(np.int64), ()),
        "row": (np.dtype(np.int64), ()),
    }
    assert set(layout) == set(ARRAYS)
    for stream, size in streams.items():
        modality = modality_of(stream)
        layout[stream] = (modality.counts.dtype, modality.shape(*size))
    return layout


class GrowingArray:
    """A `.npy` file whose first axis grows; valid once it is closed."""

    def __init__(self, path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        """`shape` is that of one entry."""
        self._dtype, self._shape, self._length = np.dtype(dtype), shape, 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, entries: np.ndarray) -> None:
        """Add entries (n, *shape)."""
        assert entries.shape[1:] == self._shape, (entries.shape, self._shape)
        self._file.write(np.ascontiguousarray(entries, self._dtype).data)
        self._length += len(entries)

    def close(self) -> None:
        # numpy leaves room in the header for the first axis to grow.
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self._length, *self._shape),
            },
        )


class CacheWriter:
    """Collects episodes; the folder appears complete or not at all. Use as a context.

    Args:
        folder: of the cache; replaced if it holds one.
        joints: names of the numbers of a state: joints, unless the arm has other states.
        streams: stream -> (height, width), the order of the masks. An episode's other streams are
            left out; those that it lacks are masked.
        objects: names of the objects or places whose poses are kept.
        actions: names of the numbers of an action; empty for `joints`.
        every: keep every n-th instant with frames.
        validation_share: of the episodes; which ones follows from their names alone.
    """

    def __init__(
        self,
        folder: Path,
        joints: tuple[str, ...],
        streams: dict[str, tuple[int, int]],
        objects: tuple[str, ...],
        *,
        actions: tuple[str, ...] = (),
        every: int = 1,
        validation_share: float = 0.05,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        """
        Raises:
            CacheError: the folder holds something that is not a cache.
        """
        self._folder = Path(folder)
        if (
            self._folder.exists()
            and any(self._folder.iterdir())
            and not ((self._folder / INDEX_FILE).exists())
        ):
            raise CacheError(f"{folder}: is not empty and holds no cache; name another folder")
        self._workplace = self._folder.parent / f".writing-{self._folder.name}"
        self._joints, self._streams, self._objects = joints, streams, objects
        self._actions = actions or joints
        # That of the first episode.
        self._period_s: float | None = None
        self._every, self._validation_share = every, validation_share
        self._chunk_rows = chunk_rows
        self._instructions: dict[str, int] = {}
        self._episodes: list[dict] = []
        self._samples = 0

    def __enter__(self) -> CacheWriter:
        shutil.rmtree(self._workplace, ignore_errors=True)
        self._workplace.mkdir(parents=True)
        layout = sample_layout(
            self._streams,
            len(self._joints),
            len(self._actions),
            len(self._objects),
            self._chunk_rows,
        )
        self._arrays = {
            name: GrowingArray(array_file(self._workplace, name), dtype, shape)
            for name, (dtype, shape) in layout.items()
        }
        return self

    def add(self, name: str, episode: Episode) -> int:
        """Add an episode; `name` decides its split. Return how many samples it gave.

        Raises:
            CacheError: a stream has another size than the cache, or the arm other joints, actions
                or another control period than those before.
        """
        for what, found, expected in (
            ("joints", episode.joints, self._joints),
            ("actions", episode.action_names, self._actions),
        ):
            if found != expected:
                raise CacheError(
                    f"{name}: {what} are {', '.join(found)}; the cache has {', '.join(expected)}"
                )
        if self._period_s not in (None, episode.period_s):
            raise CacheError(
                f"{name}: period_s is {episode.period_s}; the cache has {self._period_s}"
            )
        self._period_s = episode.period_s
        samples = samples_of(episode, self._every, self._chunk_rows)
        count = len(samples.rows)
        mask = np.zeros((count, len(self._streams)), bool)
        for place, (stream, size) in enumerate(self._streams.items()):
            modality = modality_of(stream)
            frames = np.zeros((count, *modality.shape(*size)), modality.counts.dtype)
            if stream in episode.frames:
                recorded, chosen = episode.frames[stream], samples.frame_of[stream]
                if recorded.shape[1:3] != size:
                    raise CacheError(
                        f"{name}: {stream} has frames {recorded.shape[1:3]}; the cache has {size}"
                    )
                mask[:, place] = chosen >= 0
                frames[chosen >= 0] = recorded[chosen[chosen >= 0]]
            self._arrays[stream].append(frames)
        poses = np.full((count, len(self._objects), 7), np.nan, np.float32)
        for place, object_name in enumerate(self._objects):
            if object_name in episode.object_poses:
                poses[:, place] = episode.object_poses[object_name][samples.rows]
        instruction = self._instructions.setdefault(episode.instruction, len(self._instructions))
        values = {
            "mask": mask,
            "state": samples.state,
            "chunk": samples.chunk,
            "instruction": np.full(count, instruction),
            "object_poses": poses,
            "episode": np.full(count, len(self._episodes)),
            "row": samples.rows,
        }
        for array, entries in values.items():
            self._arrays[array].append(entries)
        # Not the order of files, which more episodes would change. A CRC would not do: names that
        # differ in their last digits alone may all fall on one side.
        draw = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
        self._episodes.append(
            {
                "name": name,
                "split": "validation" if draw < self._validation_share else "train",
                "start": self._samples,
                "length": count,
                "instruction": episode.instruction,
                "success": bool(episode.success),
                "meta": dict(episode.meta),
            }
        )
        self._samples += count
        return count

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for array in self._arrays.values():
            array.close()
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._workplace, ignore_errors=True)

    def _finish(self) -> None:
        if not self._samples:
            raise CacheError(f"{self._folder}: no samples for the cache; are there any episodes?")
        index = {
            "format": FORMAT,
            "samples": self._samples,
            "joints": list(self._joints),
            "actions": list(self._actions),
            "streams": list(self._streams),
            "instructions": list(self._instructions),
            "objects": list(self._objects),
            "period_s": self._period_s,
            "episodes": self._episodes,
        }
        (self._workplace / INDEX_FILE).write_text(json.dumps(index, indent=1) + "\n")
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._workplace.rename(self._folder)
