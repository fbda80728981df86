"""A trajectory on the clock of its header: joint targets between which it is linear, or steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class TrajectoryError(ValueError):
    """A trajectory cannot be followed; the message says what is wrong with it."""


class Trajectory:
    """Targets for the joints over time, or the numbers of an arm that is commanded by steps.

    Args:
        stamp_ns: time of the header, nanoseconds.
        names: joint of each column, any order.
        offsets_s: (T,) time of each row after the header's, increasing.
        positions_rad: T rows of joint targets, radians.
        joints: of the arm, in its order: that of the columns of `sample`.

    Raises:
        TrajectoryError: names, times or positions do not fit the arm or are not finite.
    """

    def __init__(
        self,
        stamp_ns: int,
        names: Sequence[str],
        offsets_s: Sequence[float],
        positions_rad: Sequence[Sequence[float]],
        joints: Sequence[str],
    ) -> None:
        for name in names:
            if name not in joints:
                raise TrajectoryError(
                    f"unknown joint '{name}' among {', '.join(names)}; expected {', '.join(joints)}"
                )
        for name in joints:
            if list(names).count(name) != 1:
                raise TrajectoryError(
                    f"joint '{name}' is there {list(names).count(name)} times; "
                    "expected every joint once"
                )
        if not positions_rad:
            raise TrajectoryError("no points; expected at least one")
        for row in positions_rad:
            if len(row) != len(joints):
                raise TrajectoryError(f"a point has {len(row)} positions; expected {len(joints)}")
        columns = [list(names).index(name) for name in joints]
        self.stamp_ns = stamp_ns
        self._positions = np.array(positions_rad, dtype=float)[:, columns]
        self._offsets_s = np.array(offsets_s, dtype=float)
        bad = ~np.isfinite(self._positions).all(axis=0)
        if bad.any():
            raise TrajectoryError(
                f"{joints[int(np.argmax(bad))]} has a position that is not finite"
            )
        if not np.isfinite(self._offsets_s).all() or (np.diff(self._offsets_s) <= 0).any():
            raise TrajectoryError("time_from_start does not increase from point to point")

    @property
    def times_ns(self) -> np.ndarray:
        """(T,) int64 when each row is due."""
        return self.stamp_ns + np.round(self._offsets_s * 1e9).astype(np.int64)

    @property
    def rows(self) -> np.ndarray:
        """(T, J) the rows, in the order of the arm's joints."""
        return self._positions

    def sample(self, now_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return target (J,) radians and its velocity (J,) radians per second at `now_ns`.

        Before the first point the target is the first, after the last point the last, at rest.
        """
        time_s = (now_ns - self.stamp_ns) * 1e-9
        after = int(np.searchsorted(self._offsets_s, time_s, side="right"))
        if after == 0 or after == len(self._offsets_s):
            return self._positions[max(0, after - 1)].copy(), np.zeros(self._positions.shape[1])
        start_s, end_s = self._offsets_s[after - 1 : after + 1]
        start, end = self._positions[after - 1 : after + 1]
        velocity = (end - start) / (end_s - start_s)
        return start + velocity * (time_s - start_s), velocity
