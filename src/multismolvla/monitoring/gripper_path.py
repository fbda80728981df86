"""Where the gripper is going and where it has been, from joint angles over time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from multismolvla.embodiment.kinematics import Kinematics

# Opacity of the planned path at its far end; it is 1 where the gripper is now.
FAINTEST = 0.15
# More rows than any policy's chunk has; what exceeds it is no chunk.
MOST_ROWS = 2000


class Pose(NamedTuple):
    """Pose of the grip frame in base_link: metres, quaternion x, y, z, w."""

    stamp_ns: int
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]


def in_arm_order(
    joints: Sequence[str], names: Sequence[str], rows: Sequence[Sequence[float]]
) -> np.ndarray:
    """Return joint positions (N, J) in the order of the arm's `joints`, from rows of `names`.

    Raises:
        ValueError: a joint is missing or named twice, a row has another length, or a number is not
            finite.
    """
    for joint in joints:
        if list(names).count(joint) != 1:
            raise ValueError(f"expected joint '{joint}' once, got {', '.join(names) or 'none'}")
    if len(rows) > MOST_ROWS:
        raise ValueError(f"{len(rows)} points; expected at most {MOST_ROWS}")
    for row in rows:
        if len(row) != len(names):
            raise ValueError(f"{len(row)} positions for {len(names)} joints")
    columns = [list(names).index(joint) for joint in joints]
    positions = np.asarray(rows, float).reshape(len(rows), len(names))[:, columns]
    if not np.isfinite(positions).all():
        raise ValueError("a joint position is not finite")
    return positions


class PlannedPath:
    """The chunk that is being executed, as positions of the grip point.

    Args:
        kinematics: None for an arm of which they are not known: its path is empty.
    """

    def __init__(self, kinematics: Kinematics | None) -> None:
        self._kinematics = kinematics
        self.clear()

    def clear(self) -> None:
        self._times_ns = np.empty(0)
        self._points = np.empty((0, 3))

    def plan(self, times_ns: Sequence[int], joints: np.ndarray) -> None:
        """Take a new plan.

        Args:
            times_ns: (N,) when each row is to be reached, rising.
            joints: (N, J) joint targets, radians.

        Raises:
            ValueError: the times do not rise.
        """
        if self._kinematics is None:
            return
        times = np.array(times_ns, float)
        if np.any(np.diff(times) <= 0):
            raise ValueError("the times of the points do not rise")
        self._times_ns = times
        self._points = np.array([self._kinematics.forward(row)[0] for row in joints]).reshape(-1, 3)

    def ahead(self, now_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what is still to come: points (M, 3) in base_link, metres, and opacity (M,).

        Empty once the plan is over.
        """
        times = self._times_ns
        later = times > now_ns
        if not later.any():
            return np.empty((0, 3)), np.empty(0)
        points, when = self._points[later], times[later]
        if not later[0]:  # From where the gripper should be now.
            now = [np.interp(now_ns, times, self._points[:, axis]) for axis in range(3)]
            points, when = np.vstack([now, points]), np.concatenate([[now_ns], when])
        share = (when - when[0]) / max(when[-1] - when[0], 1.0)
        return points, 1.0 - (1.0 - FAINTEST) * share


class ExecutedPath:
    """The path of the grip point over the last seconds.

    Args:
        kinematics: as of `PlannedPath`.
        span_s: how long a point is kept.
        step_m, turn: a pose is kept when the grip point has moved, or the gripper has turned
            (chord of the rotation's columns, about radians), by this much since the last one.
    """

    def __init__(
        self,
        kinematics: Kinematics | None,
        span_s: float = 10.0,
        step_m: float = 0.003,
        turn: float = 0.1,
    ) -> None:
        self._kinematics = kinematics
        self._span_ns = round(span_s * 1e9)
        self._step_m, self._turn = step_m, turn
        self._poses: deque[Pose] = deque(maxlen=2000)
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def clear(self) -> None:
        self._poses.clear()
        self._last = None

    def add(self, now_ns: int, joints: np.ndarray) -> None:
        """Take the measured joints (J,), radians. A clock that was set back starts a new path."""
        if self._poses and now_ns < self._poses[-1].stamp_ns:
            self.clear()
        if self._kinematics is None:
            return
        position, rotation = self._kinematics.forward(joints)
        if self._last is not None:
            moved = np.linalg.norm(position - self._last[0])
            turned = np.linalg.norm(rotation - self._last[1], axis=0).max()
            if moved < self._step_m and turned < self._turn:
                return
        self._last = position, rotation
        self._poses.append(Pose(now_ns, tuple(position.tolist()), _quaternion(rotation)))

    def poses(self, now_ns: int) -> list[Pose]:
        """Return the poses of the last `span_s`, oldest first."""
        while self._poses and now_ns - self._poses[0].stamp_ns > self._span_ns:
            self._poses.popleft()
        return list(self._poses)


def _quaternion(r: np.ndarray) -> tuple[float, float, float, float]:
    """Quaternion x, y, z, w of a rotation (3, 3), from its largest component (Shepperd 1978)."""
    trace = float(np.trace(r))
    squares = np.array([*(1.0 + 2.0 * np.diag(r) - trace), 1.0 + trace])
    largest = int(np.argmax(squares))
    twice = math.sqrt(squares[largest])
    antisymmetric = (r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1])
    if largest == 3:
        quaternion = [*(value / twice for value in antisymmetric), twice]
    else:
        quaternion = [(r[i, largest] + r[largest, i]) / twice for i in range(3)]
        quaternion[largest] = twice
        quaternion.append(antisymmetric[largest] / twice)
    x, y, z, w = (0.5 * float(value) for value in quaternion)
    return x, y, z, w
