"""From an episode to what a learner is shown: one sample per instant at which cameras looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multismolvla.data.episode import CHUNK_ROWS, Episode


@dataclass(frozen=True)
class Samples:
    """n samples of one episode.

    Attributes:
        rows: (n,) int64 rows of the episode.
        frame_of: stream -> (n,) int64 index into the episode's frames, -1 where there is none that
            may be used.
        state: (n, 6) float32 radians.
        chunk: (n, K, 6) float32 radians.
    """

    rows: np.ndarray
    frame_of: Mapping[str, np.ndarray]
    state: np.ndarray
    chunk: np.ndarray


def samples_of(episode: Episode, every: int = 1, chunk_rows: int = CHUNK_ROWS) -> Samples:
    """The samples of every `every`-th row that has a frame of any stream.

    Frames belong together if they belong to the same row: whoever made the episode has brought them
    together. A stream without a frame at a row, or with one that may not be used, is masked there.
    An episode recorded without pictures has samples where the expert was asked.
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
    chunk = np.zeros((len(rows), chunk_rows, episode.state.shape[1]), np.float32)
    for number, row in enumerate(rows.tolist()):
        chunk[number] = episode.chunk_at(row, chunk_rows)
    return Samples(rows, frame_of, episode.state[rows].astype(np.float32), chunk)
