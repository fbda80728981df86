"""Counts of a turn that begin again at its end, followed without a jump."""

from __future__ import annotations

import numpy as np

from multismolvla.robot.registers import TICKS_PER_TURN


class TurnCounter:
    """Follows the counts of servos that report 0 to 4095 ticks of a turn, or negative ones.

    A joint moves much less than half a turn between two readings; a count that seems to, began
    again on the other side of the turn's end.

    Attributes:
        turns: (J,) int whole turns by which the joints left the one that they began in.
    """

    def __init__(self, joints: int) -> None:
        self.turns = np.zeros(joints, dtype=int)
        self._ticks: np.ndarray | None = None

    def follow(self, ticks: np.ndarray) -> np.ndarray:
        """(J,) ticks as read -> (J,) ticks without a jump from those before."""
        if self._ticks is not None:
            jumped = np.rint((ticks - self._ticks) / TICKS_PER_TURN).astype(int)
            self.turns = self.turns - jumped
        self._ticks = ticks
        return ticks + self.turns * TICKS_PER_TURN
