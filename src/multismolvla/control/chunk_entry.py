"""Where a chunk is entered that answers what was seen a while ago.

By then the arm has gone on along the chunk before. If the two agree, the new one is entered at the
row whose instant has come. If they do not, that row is a pose the arm never went to: it would skip
what the new chunk does first, such as closing the gripper, and being asked again sooner makes it
worse. `nearest` therefore enters it where it meets what the arm is told now, and plays it from
there.

Pure functions; nothing here knows about clocks or locks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# (rows (T, J), period_s, age_s of the chunk's first row, pose (J,) that the arm is told now)
# -> periods by which the chunk is played later than its stamp says; negative is earlier.
ChunkEntry = Callable[[np.ndarray, float, float, np.ndarray], int]

# Setpoints are ahead of the measured pose that a chunk begins at: by two to four rows of 1/30 s on
# the SO-101, more while the arm accelerates.
AHEAD_S = 0.4
# A second of delay or haste counts as much as this distance. It decides where the arm rests and all
# rows are near, and lets a chunk be repeated or skipped only for a reason.
RETIMING_RAD_PER_S = 0.3


def stamp(rows: np.ndarray, period_s: float, age_s: float, pose: np.ndarray) -> int:
    """Each row at its own instant, wherever the arm is."""
    return 0


def nearest(rows: np.ndarray, period_s: float, age_s: float, pose: np.ndarray) -> int:
    """Enter where the chunk is nearest to the pose, at most `AHEAD_S` beyond its instant.

    Compared in steps of a period from the instant on, so that a chunk which agrees with the one
    before is played as stamped, not by some part of a row off.
    """
    age = age_s / period_s
    ahead = min(AHEAD_S / period_s, max(0.0, len(rows) - 1 - age))
    delays = np.arange(-int(ahead), int(age) + 1)
    knots = np.arange(len(rows))
    met = np.stack([np.interp(age - delays, knots, joint) for joint in rows.T], axis=1)
    cost = np.square(met - pose).sum(axis=1) + np.square(RETIMING_RAD_PER_S * period_s * delays)
    return int(delays[np.argmin(cost)])


ENTRIES: dict[str, ChunkEntry] = {"nearest": nearest, "stamp": stamp}
