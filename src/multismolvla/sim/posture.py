"""Joint angles for a gripper that points down as far as the wrist allows."""

from __future__ import annotations

import math

import numpy as np

from multismolvla.embodiment.pan_pitch_arm import DOWN
from multismolvla.embodiment.so101 import KINEMATICS, SO101

Position = tuple[float, float, float]
Angles = tuple[float, float, float, float, float]

MARGIN_RAD = 0.03
FLATTEST_PITCH_RAD = 0.5
_LEANING = np.linspace(DOWN, FLATTEST_PITCH_RAD, 9)[1:].tolist()
_LOWER = (SO101.lower_rad[:5] + MARGIN_RAD).tolist()
_UPPER = (SO101.upper_rad[:5] - MARGIN_RAD).tolist()
# Rounding in the angle of a clipped heading.
_ROUNDING_RAD = 1e-9
# Middle of the table in reach, to which a position out of reach is drawn.
_EASY_RADIUS_M, _EASY_HEIGHT_M = 0.17, 0.07


def reach(position: np.ndarray, roll: float) -> np.ndarray:
    """Joint angles (5,) that bring the grip point to `position`, or as near as the arm gets.

    The wrist cannot point straight down high above the table or close to the base: there the
    gripper leans outwards, by as little as the joint limits ask.
    """
    roll = min(max(roll, _LOWER[4]), _UPPER[4])
    x, y, top = float(position[0]) - KINEMATICS.pan_x, float(position[1]), float(position[2])
    radius, heading = math.hypot(x, y), min(max(math.atan2(y, x), _LOWER[0]), _UPPER[0])
    for share in (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0):
        near = radius + share * (_EASY_RADIUS_M - radius)
        height = top + share * (_EASY_HEIGHT_M - top)
        x, y = KINEMATICS.pan_x + near * math.cos(heading), near * math.sin(heading)
        joints = _most_upright((x, y, height), roll)
        if joints is not None:
            return np.array(joints)
    raise AssertionError("the middle of the table is always in reach")


def _most_upright(position: Position, roll: float) -> Angles | None:
    joints = _within_limits(position, DOWN, roll)
    if joints is not None:
        return joints
    # A coarse search finds a pitch that works; bisection then takes the steepest one.
    steep, flat = DOWN, None
    for pitch in _LEANING:
        joints = _within_limits(position, pitch, roll)
        if joints is not None:
            flat = pitch
            break
        steep = pitch
    if flat is None:
        return None
    for _ in range(6):
        middle = (steep + flat) / 2
        found = _within_limits(position, middle, roll)
        if found is None:
            steep = middle
        else:
            flat, joints = middle, found
    return joints


def _within_limits(position: Position, pitch: float, roll: float) -> Angles | None:
    joints = KINEMATICS.solve(*position, pitch, roll)
    if joints is None:
        return None
    for joint, lower, upper in zip(joints, _LOWER, _UPPER, strict=True):
        if not lower - _ROUNDING_RAD <= joint <= upper + _ROUNDING_RAD:
            return None
    return joints
