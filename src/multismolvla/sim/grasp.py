"""Where the fingers are, what they hold, and how an object can be taken from above."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from multismolvla.embodiment.so101 import KINEMATICS
from multismolvla.sim.layout import SHAPES, half_height, rotation_of

# From assets/so101.xml: the fixed pad's face below the roll axis, the opening at which the pads are
# parallel and the joint angle there, and the grip point's distance from the jaw's hinge.
FIXED_PAD = -0.0079
PARALLEL_OPENING, PARALLEL_ANGLE = 0.028, 0.284
JAW_RADIUS = 0.0647

WIDEST_GRASP_M = 0.036
# The fingertips reach 10 mm below the grip point; this keeps them 4 mm off the table.
LOWEST_GRIP_M = 0.014
# Farther from the middle between the pads than this nothing is between them.
AROUND_M = 0.08


def opening(angle: float) -> float:
    """Distance between the pads at the grip point for a gripper angle, metres."""
    return PARALLEL_OPENING + JAW_RADIUS * math.sin(angle - PARALLEL_ANGLE)


def contact_angle(width: float) -> float:
    """Gripper angle at which the pads touch both sides of something `width` metres wide."""
    return PARALLEL_ANGLE + math.asin((width - PARALLEL_OPENING) / JAW_RADIUS)


@dataclass(frozen=True)
class GripperPose:
    """Pose of the gripper: grip frame, joint angle and the middle between the pads."""

    position: np.ndarray
    rotation: np.ndarray
    angle: float

    @classmethod
    def at(cls, joints: np.ndarray) -> GripperPose:
        """The gripper at joint angles (6,), radians."""
        return _gripper_at(np.asarray(joints, np.float64).tobytes())

    @cached_property
    def gap(self) -> float:
        """Distance between the pads, metres."""
        return max(opening(self.angle), 0.0)

    @cached_property
    def middle_offset(self) -> float:
        """Distance of the middle between the pads from the roll axis, towards the moving jaw."""
        return FIXED_PAD + self.gap / 2

    @cached_property
    def middle(self) -> np.ndarray:
        """(3,) middle between the pads in base_link, metres."""
        return self.position + self.middle_offset * self.rotation[:, 2]

    def surrounds(self, name: str, pose: np.ndarray) -> bool:
        """Whether the object is between the fingers, whether they touch it or not."""
        (x, y, z), (middle_x, middle_y, middle_z) = pose[:3].tolist(), self.middle.tolist()
        x, y, z = x - middle_x, y - middle_y, z - middle_z
        if x * x + y * y + z * z > AROUND_M**2:
            return False
        out, along, across = (self.rotation.T @ (x, y, z)).tolist()
        half = SHAPES[name].half
        near = abs(across) < max(self.gap / 2, 0.018)
        return near and abs(along) < 0.020 and abs(out) < max(half) + 0.005

    def holds(self, name: str, pose: np.ndarray) -> bool:
        """Whether the fingers are closed on the object."""
        if not self.surrounds(name, pose):
            return False
        width = self.width_across(name, pose)
        return self.angle < contact_angle(min(width, 0.060)) + 0.06

    def width_across(self, name: str, pose: np.ndarray) -> float:
        """Extent of the object along the closing direction, metres."""
        half = SHAPES[name].half
        axis = (rotation_of(pose).T @ self.rotation[:, 2]).tolist()
        if SHAPES[name].round:
            side = math.hypot(axis[0], axis[1])
            return 2 * (half[0] * side + half[2] * max(0.0, abs(axis[2]) - 0.2))
        # A tilt of a few degrees is taken up by the pads: only the axis that is meant counts.
        return 2 * half[max(range(3), key=lambda k: abs(axis[k]))]


@lru_cache(maxsize=8)
def _gripper_at(joints: bytes) -> GripperPose:
    # The expert's law and the rollout of its chunk need the same pose up to three times.
    angles = np.frombuffer(joints)
    position, rotation = KINEMATICS.forward(angles)
    for array in (position, rotation):
        array.flags.writeable = False
    return GripperPose(position, rotation, float(angles[5]))


def closing_yaws(name: str, pose: np.ndarray) -> tuple[float, ...] | None:
    """Directions along which fingers that point down can close on the object as it lies.

    Returns:
        yaw angles in base_link, radians, each good turned by half a turn as well; None when every
        direction is good.
    """
    rotation, shape = rotation_of(pose), SHAPES[name]
    if shape.round:
        axis = rotation[:, 2]
        if abs(axis[2]) > 0.8:
            return None
        return (math.atan2(axis[0], -axis[1]),)
    return tuple(
        math.atan2(rotation[1, k], rotation[0, k])
        for k in range(3)
        if abs(rotation[2, k]) < 0.6 and 2 * shape.half[k] < WIDEST_GRASP_M
    )


def grip_height(name: str, pose: np.ndarray) -> float:
    """Height of the grip point above the object's centre when it is taken, metres."""
    return max(0.0, LOWEST_GRIP_M - half_height(name, pose))
