"""How the open gripper comes to stand around an object: direction and opening of the fingers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.sim.grasp import (
    WIDEST_GRASP_M,
    GripperPose,
    closing_yaws,
    contact_angle,
    grip_height,
)
from multismolvla.sim.layout import BIN_CENTRE, BIN_INNER_HALF, SHAPES

OPEN_RAD = 0.85
# How far the fingers open beyond contact where something stands close by.
NARROW_RAD = 0.20
# From the object's centre to the outside of a finger, open and narrow, on the closing direction.
REACH_M, NARROW_REACH_M = 0.042, 0.027
FINGER_HALF_WIDTH_M = 0.012
# The bin's wall, with some air.
WALL_M = 0.005
# Turning the roll joint by this much is worth avoiding a finger on something else.
BLOCKED_COST_RAD = 3.0
# Directions tried around an upright cylinder when the present one is blocked.
TRIED_TURNS = np.deg2rad([0, 25, -25, 50, -50, 75, -75]).tolist()


def grasp(
    joints: np.ndarray, gripper: GripperPose, name: str, poses: Mapping[str, np.ndarray]
) -> tuple[float, np.ndarray, float]:
    """Roll angle, grip point (3,) and gripper angle with which the open fingers stand around it.

    The direction that needs the least rotation, unless a finger would land on something else.
    """
    pose = poses[name]
    pan = -math.atan2(pose[1], pose[0] - KINEMATICS.pan_x)
    roll, blocked = _best_roll(float(joints[4]), pan, name, poses)
    yaw = roll - pan - KINEMATICS.roll_twist
    across = np.array([math.cos(yaw), math.sin(yaw), 0.0])
    position = pose[:3] - gripper.middle_offset * across
    position[2] += grip_height(name, pose)
    # The shift across changed the pan angle a little: keep the fingers' direction on the table.
    shifted = -math.atan2(position[1], position[0] - KINEMATICS.pan_x)
    opening = OPEN_RAD
    if blocked:
        width = max(2 * half for half in SHAPES[name].half if 2 * half < WIDEST_GRASP_M)
        opening = contact_angle(width) + NARROW_RAD
    return roll + shifted - pan, position, opening


def nearest_roll(yaw: float, pan: float, roll: float) -> float:
    """Roll angle within limits, nearest to `roll`, that closes along `yaw` or against it."""
    first = KINEMATICS.roll_for_closing_yaw(yaw, pan)
    turns = (first, first - math.pi, first + math.pi)
    lower, upper = SO101.lower_rad[4] + 0.1, SO101.upper_rad[4] - 0.1
    return min(
        (turn for turn in turns if lower <= turn <= upper), key=lambda turn: abs(turn - roll)
    )


def _best_roll(
    roll: float, pan: float, name: str, poses: Mapping[str, np.ndarray]
) -> tuple[float, bool]:
    """The cheapest roll angle and whether the wide-open fingers would hit something there."""
    yaws = closing_yaws(name, poses[name])
    if yaws is None:
        middle = min(max(roll, -0.8), 0.8)
        candidates = [middle + turn for turn in TRIED_TURNS]
    else:
        candidates = [nearest_roll(yaw, pan, roll) for yaw in yaws or (0.0,)]
    costs = []
    for candidate in candidates:
        yaw = candidate - pan - KINEMATICS.roll_twist
        hits = _hits(name, yaw, poses, REACH_M)
        narrow_hits = hits and _hits(name, yaw, poses, NARROW_REACH_M)
        cost = abs(candidate - roll) + BLOCKED_COST_RAD * (hits + narrow_hits)
        costs.append((cost, candidate, hits))
    _, best, hits = min(costs)
    return best, hits


def _hits(name: str, yaw: float, poses: Mapping[str, np.ndarray], reach_m: float) -> bool:
    """Whether fingers on both sides, `reach_m` from the object's centre, meet something else."""
    cosine, sine = math.cos(yaw), math.sin(yaw)
    x, y = poses[name][:2].tolist()
    for other, pose in poses.items():
        if other == name:
            continue
        other_x, other_y = pose[:2].tolist()
        way_x, way_y = other_x - x, other_y - y
        size = min(SHAPES[other].half[:2])
        aside = abs(way_x * sine - way_y * cosine)
        ahead = abs(way_x * cosine + way_y * sine)
        if ahead < reach_m + size and aside < FINGER_HALF_WIDTH_M + size:
            return True
    x, y = x - BIN_CENTRE[0], y - BIN_CENTRE[1]
    inside = max(abs(x), abs(y)) < BIN_INNER_HALF
    for along in (-FINGER_HALF_WIDTH_M, FINGER_HALF_WIDTH_M):
        for across in (-reach_m, reach_m):
            finger_x = x - along * sine + across * cosine
            finger_y = y + along * cosine + across * sine
            finger = max(abs(finger_x), abs(finger_y))
            if finger > BIN_INNER_HALF if inside else finger < BIN_INNER_HALF + WALL_M:
                return True
    return False
