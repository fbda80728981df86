"""The scripted expert: a feedback law from the state of arm and objects to the next joint target.

It keeps no memory. Which phase a task is in follows from where the object is and how the fingers
stand to it, so the law works in any state, also in one that another policy reached. Phases
meet in funnels (the closer to the place, the lower the gripper may be) rather than at switches, and
every test that could flip back and forth has two thresholds, chosen by the gripper's own angle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.sim.approach import grasp, nearest_roll
from multismolvla.sim.destination import Destination, destination
from multismolvla.sim.goals import Goal
from multismolvla.sim.grasp import GripperPose, contact_angle
from multismolvla.sim.layout import half_height
from multismolvla.sim.posture import reach

ARM_SPEED_RAD_S = 1.6
GRIPPER_SPEED_RAD_S = 2.0
# Share of the remaining path per second: the gripper slows down over the last centimetres.
APPROACH_RATE_HZ = 10.0

CLOSED_RAD = float(SO101.lower_rad[5])
# How far the fingers open beyond contact to let go: further, they would reach for the neighbours.
RELEASE_RAD = 0.28

# The gripper leaves the faster, the wider the gap: metres of carrot per radian.
LEAVE_RATE = 0.2

# The empty gripper travels with its fingertips above the tallest object.
HOVER_M = 0.085
# Sides of the funnel: within the throat the gripper may be all the way down.
THROAT_M, SLOPE = 0.006, 5.0
# A radian of wrong roll, and an unopened gripper, count as this much distance.
ROLL_WEIGHT_M, SHUT_WEIGHT_M = 0.06, 0.10


@dataclass(frozen=True)
class Move:
    """Where the law wants the gripper: grip point, roll angle and gripper angle."""

    position: np.ndarray
    roll: float
    gripper: float


def next_target(
    joints: np.ndarray,
    poses: Mapping[str, np.ndarray],
    goals: Sequence[Goal],
    period_s: float,
) -> np.ndarray:
    """Joint target (6,) for `period_s` from now, radians, within the joint limits.

    Args:
        joints: (6,) joint positions now, radians.
        poses: object -> (7,) x, y, z, qw, qx, qy, qz in base_link.
        goals: the task's goals, bound to objects, in order.
        period_s: time until the target is due, seconds.
    """
    gripper = GripperPose.at(joints)
    move = _move(joints, gripper, poses, goals)
    if move is None:
        wanted = _homewards(joints, gripper)
    else:
        arm = reach(_carrot(gripper.position, move.position), move.roll)
        wanted = np.array([*arm.tolist(), move.gripper])
    return _step(joints, wanted, period_s)


def _move(
    joints: np.ndarray, gripper: GripperPose, poses: Mapping[str, np.ndarray], goals: Sequence[Goal]
) -> Move | None:
    for goal in goals:
        pose = poses[goal.name]
        surrounded = gripper.surrounds(goal.name, pose)
        target = destination(goal, poses)
        if target.holds_already(goal, poses):
            if surrounded:
                return _let_go(joints, gripper, goal.name, pose)
            continue
        if surrounded and gripper.holds(goal.name, pose):
            return _carry(joints, gripper, goal.name, pose, target)
        return _take(joints, gripper, goal.name, poses)
    return None


def _let_go(joints: np.ndarray, gripper: GripperPose, name: str, pose: np.ndarray) -> Move:
    contact = contact_angle(min(gripper.width_across(name, pose), 0.050))
    position = gripper.position.copy()
    # The jaw moves and the fixed finger does not: shift the gripper so that both leave the object.
    across = gripper.rotation[:, 2]
    position += ((pose[:3] - gripper.middle) @ across) * across
    # A wall may keep the jaw from opening all the way: a small gap is enough to leave.
    if gripper.angle > contact + 0.10:
        # Slowly first: the measured jaw may lag behind the one that this law was rolled out with.
        position[2] += min(LEAVE_RATE * (gripper.angle - contact), 0.05)
    return Move(position, float(joints[4]), contact + RELEASE_RAD)


def _carry(
    joints: np.ndarray, gripper: GripperPose, name: str, pose: np.ndarray, target: Destination
) -> Move:
    roll = float(joints[4])
    if target.closing_yaw is not None:
        pan = -math.atan2(target.position[1], target.position[0] - KINEMATICS.pan_x)
        roll = nearest_roll(target.closing_yaw, pan, roll)
    way = target.position[:2] - pose[:2]
    distance = math.hypot(*way.tolist()) + ROLL_WEIGHT_M * max(0.0, abs(roll - joints[4]) - 0.1)
    bottom = float(pose[2]) - half_height(name, pose)
    needed = _funnel(distance, target.position[2], target.carry_height)
    freedom = _freedom(needed - bottom)
    position = gripper.position + np.array([*(freedom * way), needed - bottom])
    return Move(position, roll if freedom > 0 else float(joints[4]), CLOSED_RAD)


def _take(
    joints: np.ndarray, gripper: GripperPose, name: str, poses: Mapping[str, np.ndarray]
) -> Move:
    roll, position, opening = grasp(joints, gripper, name, poses)
    aside = math.hypot(*(gripper.middle[:2] - poses[name][:2]).tolist())
    above = abs(float(gripper.position[2] - position[2]))
    turned = abs(roll - joints[4])
    # Once closing has begun, small disturbances do not undo it.
    slack = 1.0 if gripper.angle > opening - 0.06 else 2.5
    if aside < 0.008 * slack and above < 0.008 * slack and turned < 0.12 * slack:
        return Move(position, roll, CLOSED_RAD)
    shut = max(0.0, opening - 0.04 - gripper.angle)
    distance = aside + ROLL_WEIGHT_M * max(0.0, turned - 0.1) + SHUT_WEIGHT_M * shut
    needed = _funnel(distance, float(position[2]), HOVER_M)
    freedom = _freedom(needed - float(gripper.position[2]))
    position[:2] = gripper.position[:2] + freedom * (position[:2] - gripper.position[:2])
    position[2] = needed
    return Move(position, roll if freedom > 0 else float(joints[4]), opening)


def _funnel(distance: float, low: float, high: float) -> float:
    return min(max(high, low), low + SLOPE * max(0.0, distance - THROAT_M))


def _freedom(lacking: float) -> float:
    """Share of the sideways motion allowed while `lacking` metres of height are missing."""
    return min(1.0, max(0.0, 1.6 - lacking / 0.01))


def _homewards(joints: np.ndarray, gripper: GripperPose) -> np.ndarray:
    home, _ = KINEMATICS.forward(SO101.home_rad)
    aside = math.hypot(*(gripper.position[:2] - home[:2]).tolist())
    if gripper.position[2] < HOVER_M - 0.01 and aside > 0.02:
        up = np.array([*gripper.position[:2], HOVER_M])
        return np.append(reach(up, float(joints[4])), joints[5])
    return SO101.home_rad


def _carrot(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """A point at most a few centimetres ahead on the path from `start` to `end`.

    The path turns about the pan axis instead of crossing the base; following a near point keeps the
    gripper on it, where one big step in joint space would sag.
    """
    (x, y, height), (end_x, end_y, end_height) = start.tolist(), end.tolist()
    x, end_x = x - KINEMATICS.pan_x, end_x - KINEMATICS.pan_x
    radii = math.hypot(x, y), math.hypot(end_x, end_y)
    angles = math.atan2(y, x), math.atan2(end_y, end_x)
    turn = math.remainder(angles[1] - angles[0], 2 * math.pi)
    rise = end_height - height
    longest = max(abs(turn) / 0.35, abs(radii[1] - radii[0]) / 0.05, abs(rise) / 0.05, 1.0)
    radius = radii[0] + (radii[1] - radii[0]) / longest
    angle = angles[0] + turn / longest
    return np.array(
        [
            KINEMATICS.pan_x + radius * math.cos(angle),
            radius * math.sin(angle),
            height + rise / longest,
        ]
    )


def _step(joints: np.ndarray, wanted: np.ndarray, period_s: float) -> np.ndarray:
    way = wanted - joints
    longest = max(abs(joint) for joint in way[:5].tolist())
    share = min(1.0, APPROACH_RATE_HZ * period_s)
    if longest * share > ARM_SPEED_RAD_S * period_s:
        share = ARM_SPEED_RAD_S * period_s / longest
    target = joints + share * way
    reachable = GRIPPER_SPEED_RAD_S * period_s
    target[5] = joints[5] + min(max(way[5], -reachable), reachable)
    return np.minimum(np.maximum(target, SO101.lower_rad), SO101.upper_rad)
