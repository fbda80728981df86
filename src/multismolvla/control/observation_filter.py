"""Leaving out observations that would tell the policy nothing new.

The idea is LeRobot's: skip an observation whose joint positions are close to those of the last one
processed, unless the queue is empty (must-go). Three of its traps are closed here: the tolerance is
in radians, a still robot still sees (the frames and the mask count, too), and only an inference
that gave a chunk makes an observation 'processed', so that a failed one can always be repeated.
"""

from __future__ import annotations

import numpy as np

from multismolvla.interfaces import Observation

# A thumbnail of at most this many pixels a side is compared.
_SIDE = 24
# What counts as a change of one pixel, by kind of stream: colour levels, metres, degrees Celsius,
# any other label. Well above the noise of such cameras; noise that passes costs an inference only.
_PIXEL_STEP = {"rgb": 40.0, "depth": 0.02, "thermal": 3.0, "segmentation": 0.5}
# Share of changed pixels that makes a frame different: 4 of 24 x 24, a small object that moves.
_CHANGED_SHARE = 0.006


class ObservationFilter:
    """Compares an observation with the last one that led to a chunk.

    Args:
        tolerance_rad: largest joint difference that still counts as the same pose, radians; 0
            lets every observation through.
    """

    def __init__(self, tolerance_rad: float) -> None:
        self._tolerance_rad = tolerance_rad
        self._last: Observation | None = None
        self._thumbnails: dict[str, np.ndarray] = {}

    def is_new(self, observation: Observation, *, must_go: bool) -> bool:
        """True if the policy should see this observation."""
        last = self._last
        if must_go or last is None or observation.task != last.task:
            return True
        if dict(observation.mask) != dict(last.mask):
            return True
        # `not <` and not `>=`: a NaN in the state is a change, never 'the same'.
        if not np.max(np.abs(observation.state - last.state)) < self._tolerance_rad:
            return True
        return any(
            _differs(name, self._thumbnails.get(name), _thumbnail(frame))
            for name, frame in observation.frames.items()
            if frame is not None and observation.mask.get(name, False)
        )

    def processed(self, observation: Observation) -> None:
        """Remember an observation that led to a chunk."""
        self._last = observation
        self._thumbnails = {
            name: _thumbnail(frame)
            for name, frame in observation.frames.items()
            if frame is not None and observation.mask.get(name, False)
        }

    def reset(self) -> None:
        """Forget: the next observation is new."""
        self._last = None
        self._thumbnails = {}


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    step_y, step_x = (-(-size // _SIDE) for size in frame.shape[:2])
    return frame[::step_y, ::step_x].astype(np.float32)


def _differs(stream: str, old: np.ndarray | None, new: np.ndarray) -> bool:
    if old is None or old.shape != new.shape:
        return True
    # NaN (no return) compares False: a depth camera's flickering holes are no change.
    changed = np.abs(new - old) > _PIXEL_STEP[stream.rpartition("/")[2]]
    if changed.ndim == 3:
        changed = changed.any(axis=2)
    return bool(changed.mean() > _CHANGED_SHARE)
