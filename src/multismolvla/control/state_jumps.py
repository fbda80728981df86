"""Joint states that jump to and fro: two programs that publish them under one name."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

# No joint of an arm is faster. What a reading may be off, or late, comes on top.
FASTEST_RAD_S = 10.0
SLACK_RAD = 0.2

# One jump is an arm that was put somewhere else, as a simulator does; two within this time are not.
SPAN_S = 1.0
JUMPS = 2


class StateJumps:
    """Finds positions that follow each other faster than any joint turns.

    Args:
        joints: names of the positions; empty where they are no joints, and nothing is found.
    """

    def __init__(self, joints: Sequence[str]) -> None:
        self._joints = tuple(joints)
        self._last: tuple[int, np.ndarray] | None = None
        self._jumps_ns: deque[int] = deque(maxlen=JUMPS)
        self._widest = ""

    def add(self, stamp_ns: int, positions: np.ndarray) -> None:
        """Take in a sample (J,), radians, at its stamp."""
        last, self._last = self._last, (stamp_ns, positions)
        if last is None or len(self._joints) != len(positions):
            return
        elapsed_s = abs(stamp_ns - last[0]) * 1e-9
        moved = np.abs(positions - last[1])
        joint = int(np.argmax(moved))
        if moved[joint] > SLACK_RAD + FASTEST_RAD_S * elapsed_s:
            self._jumps_ns.append(stamp_ns)
            self._widest = self._joints[joint]

    def problem(self, now_ns: int) -> str:
        """What is wrong with the joint states now, "" for nothing."""
        if len(self._jumps_ns) < JUMPS:
            return ""
        if any(abs(now_ns - jump_ns) * 1e-9 > SPAN_S for jump_ns in self._jumps_ns):
            return ""
        return f"joint_states jump to and fro ({self._widest}); do two programs publish them?"

    def clear(self) -> None:
        """Forget everything: the clock was set back."""
        self._last = None
        self._jumps_ns.clear()
