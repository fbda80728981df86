"""An episode: what the cameras and the arm showed, what was commanded, what would have been right.

The one form between recording, storage and training. Frames are in counts (see `modalities`);
a frame belongs to a row, because cameras are slower than the control loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from multismolvla.embodiment.description import PERIOD_S, ActionSpace
from multismolvla.modalities.registry import modality_of

CHUNK_ROWS = 50


class EpisodeError(ValueError):
    """An episode or its file is not as it should be; one line."""


@dataclass(frozen=True)
class Episode:
    """One attempt at one instruction; T control steps, N frames per stream, M labelled chunks.

    Attributes:
        instruction: the task.
        joints: names of the S numbers of a state: joints, unless the arm has other states.
        stamps_ns: (T,) int64, one row per control step, rising.
        state: (T, S) float64 measured at the row's instant; of joints in radians.
        action: (T, A) float64 the label: the expert's action, without noise, from the row's instant
            on. A target holds for one period after it. What an environment's `step` should get.
        executed: (T, A) float64 what was commanded: the label plus noise, or a learner's action.
        frames: stream -> (N, H, W[, 3]) counts as its kind has them: uint8 rgb and labels, uint16
            depth in millimetres (0 = no return), uint16 thermal in centikelvin.
        frame_index: stream -> (N,) int64 rising, the row that each frame belongs to.
        masks: stream -> (N,) bool, whether the frame may be used.
        object_poses: object, or another place that the task is about -> (T, 7) x, y, z, qw, qx,
            qy, qz in the frame of the arm's positions; empty without a simulator.
        success: whether the task was done at the end.
        meta: task id, seed, noise, git revision, source, ... as plain values.
        chunks: (M, K, A) float32 the expert's own chunk from the state of a row; row 0 of a chunk
            is the target for the row's own instant, or the step from it. None becomes an empty one.
        chunk_index: (M,) int64 rising, the row that each chunk belongs to.
        action_space: of the arm; None for targets of `joints` every `PERIOD_S`.
    """

    instruction: str
    joints: tuple[str, ...]
    stamps_ns: np.ndarray
    state: np.ndarray
    action: np.ndarray
    executed: np.ndarray
    frames: Mapping[str, np.ndarray]
    frame_index: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    object_poses: Mapping[str, np.ndarray]
    success: bool
    meta: Mapping[str, str | int | float]
    chunks: np.ndarray | None = None
    chunk_index: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    action_space: ActionSpace | None = None

    def __post_init__(self) -> None:
        rows, states, actions = len(self.stamps_ns), len(self.joints), len(self.action_names)
        if self.chunks is None:
            none = np.zeros((0, CHUNK_ROWS, actions), np.float32)
            object.__setattr__(self, "chunks", none)
        if rows == 0 or np.any(np.diff(self.stamps_ns) <= 0):
            raise EpisodeError("the stamps of an episode must rise, and there must be one at least")
        _need("state", self.state, (rows, states))
        for name in ("action", "executed"):
            _need(name, getattr(self, name), (rows, actions))
        _need("chunks", self.chunks, (len(self.chunk_index), None, actions))
        _need_rows("chunk_index", self.chunk_index, rows)
        for name, poses in self.object_poses.items():
            _need(f"object_poses['{name}']", poses, (rows, 7))
        for stream, frames in self.frames.items():
            modality = modality_of(stream)
            missing = [n for n in ("frame_index", "masks") if stream not in getattr(self, n)]
            if missing:
                raise EpisodeError(f"stream '{stream}' has frames but no {missing[0]}")
            index = self.frame_index[stream]
            _need(f"frames['{stream}']", frames, (len(index), None, None, *modality.trailing))
            if frames.dtype != modality.counts.dtype:
                raise EpisodeError(
                    f"frames['{stream}'] are {frames.dtype}; expected {modality.counts.dtype}"
                )
            _need(f"masks['{stream}']", self.masks[stream], (len(index),))
            _need_rows(f"frame_index['{stream}']", index, rows)

    def __len__(self) -> int:
        """Number of control steps."""
        return len(self.stamps_ns)

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(self.frames)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the numbers of an action."""
        return self.joints if self.action_space is None else self.action_space.names

    @property
    def period_s(self) -> float:
        """Time between the rows of a chunk, and that for which an action holds."""
        return PERIOD_S if self.action_space is None else self.action_space.period_s

    @property
    def deltas(self) -> bool:
        """Whether actions are steps from where the arm is, and not targets."""
        return self.action_space is not None and self.action_space.deltas

    def chunk_at(self, row: int, length: int = CHUNK_ROWS) -> np.ndarray:
        """The learner's actions (length, A) float32 for an observation at `row`.

        The recorded chunk where there is one. Else from the labels: a step of the row's own instant
        is the label of the row; a target of that instant is the label of the row before. Beyond the
        end the arm holds still: a step of zero, or the last target again. In an episode with noise
        the labels are the expert's reaction to states that the noise made, so that only recorded
        chunks are exact.
        """
        place = int(np.searchsorted(self.chunk_index, row))
        if place < len(self.chunk_index) and self.chunk_index[place] == row:
            chunk = self.chunks[place]
        elif self.deltas:
            chunk = self.action[row:]
        elif row == 0:
            chunk = np.concatenate([self.state[:1], self.action])
        else:
            chunk = self.action[row - 1 :]
        still = self.action_space.still(chunk[-1]) if self.deltas else chunk[-1]
        rest = np.tile(still, (max(0, length - len(chunk)), 1))
        return np.concatenate([chunk[:length], rest]).astype(np.float32)


def _need(name: str, value: np.ndarray, shape: tuple[int | None, ...]) -> None:
    """Raise unless the array has the shape; None stands for any length."""
    fits = value.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, value.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise EpisodeError(f"{name} has shape {value.shape}; expected ({wanted})")


def _need_rows(name: str, index: np.ndarray, rows: int) -> None:
    if len(index) and (np.any(np.diff(index) < 0) or index[0] < 0 or index[-1] >= rows):
        raise EpisodeError(f"{name} must rise within 0 to {rows - 1}")
