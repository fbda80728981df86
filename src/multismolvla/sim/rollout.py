"""A cheap forward model for the expert: joints follow, held objects go along, loose ones fall."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from multismolvla.sim.grasp import GripperPose, contact_angle
from multismolvla.sim.layout import (
    BIN_CENTRE,
    BIN_FLOOR,
    BIN_INNER_HALF,
    PLATE_CENTRE,
    PLATE_RADIUS,
    PLATE_TOP,
    half_height,
)


def advance(
    joints: np.ndarray, poses: Mapping[str, np.ndarray], target: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Joints (6,) and object poses after the joints have followed `target`."""
    before = GripperPose.at(joints)
    joints, poses = target.copy(), dict(poses)
    surrounded = [name for name, pose in poses.items() if before.surrounds(name, pose)]
    held = [name for name in surrounded if before.holds(name, poses[name])]
    for name in surrounded:
        # The fingers stop at the object.
        width = before.width_across(name, poses[name])
        joints[5] = max(joints[5], contact_angle(min(width, 0.060)))
    after = GripperPose.at(joints)
    for name in held:
        pose = poses[name]
        holds = after.holds(name, pose)
        poses[name] = _carried(pose, before, after) if holds else _fallen(name, pose)
    return joints, poses


def _carried(pose: np.ndarray, before: GripperPose, after: GripperPose) -> np.ndarray:
    turn = after.rotation @ before.rotation.T
    position = after.position + turn @ (pose[:3] - before.position)
    return np.concatenate([position, _turned(turn, pose[3:])])


def _fallen(name: str, pose: np.ndarray) -> np.ndarray:
    x, y = float(pose[0]), float(pose[1])
    support = 0.0
    if max(abs(x - BIN_CENTRE[0]), abs(y - BIN_CENTRE[1])) < BIN_INNER_HALF:
        support = BIN_FLOOR
    elif math.hypot(x - PLATE_CENTRE[0], y - PLATE_CENTRE[1]) < PLATE_RADIUS:
        support = PLATE_TOP
    fallen = pose.copy()
    fallen[2] = min(fallen[2], support + half_height(name, pose))
    return fallen


def _turned(turn: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """Quaternion (4,) w x y z after a further rotation (3, 3) by less than half a turn."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = turn.tolist()
    w = math.sqrt(max(0.0, 1.0 + xx + yy + zz)) / 2
    x, y, z = (zy - yz) / (4 * w), (xz - zx) / (4 * w), (yx - xy) / (4 * w)
    a, b, c, d = quaternion.tolist()
    product = (
        w * a - x * b - y * c - z * d,
        w * b + x * a + y * d - z * c,
        w * c - x * d + y * a + z * b,
        w * d + x * c - y * b + z * a,
    )
    return np.array(product) / math.hypot(*product)
