"""What a policy estimates of a LIBERO scene: the two gripper poses of the running subgoal.

`grasp` is where the fingers close, and moves along with what they hold; `place` is where they open,
or where a handle or a knob is to be brought to. Poses are (7,) x, y, z, qw, qx, qy, qz of the
gripper there, in the world's frame: z points out of the hand, the fingers close along x.
"""

from __future__ import annotations

import math

import numpy as np

SUBGOAL = ("grasp", "place")
# The hand looks the same after half a turn.
SYMMETRY = 2
# A closing direction that is steeper than this has no heading worth the name.
STEEPEST = 0.7
# Nearer than this to the grasp, with fingers that are not open, something is held.
HELD_M = 0.025
# Both fingers of robosuite's gripper together, metres; 0.08 when open.
OPEN_M = 0.072


def heading(pose: np.ndarray) -> tuple[float, float]:
    """Cosine and sine of the closing direction's heading times `SYMMETRY`; NaN if it is steep."""
    w, x, y, z = (float(value) for value in pose[3:])
    closing = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    if abs(closing[2]) > STEEPEST:
        return math.nan, math.nan
    angle = SYMMETRY * math.atan2(closing[1], closing[0])
    return math.cos(angle), math.sin(angle)


def held(state: np.ndarray, grasp: np.ndarray) -> bool:
    """Whether a gripper in a state (8,) of `LiberoWorld` holds what is grasped at (7,) `grasp`."""
    near = float(np.linalg.norm(state[:3] - grasp[:3])) < HELD_M
    return near and float(np.abs(state[6:8]).sum()) < OPEN_M
