"""Where the gripper is, from a state: the protocol, any chain of revolute joints, a stated pose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class EmbodimentError(ValueError):
    """An arm is described wrongly, or is not the arm of something else; one line."""


# Of an arm of half a metre that stands on a table.
TABLE_ARM_CENTRE_M = (0.20, 0.0, 0.03)


class Kinematics(Protocol):
    """Forward kinematics of an arm; angles in radians, lengths in metres.

    A state is joint angles, or whatever else the arm's states are.
    """

    @property
    def joints(self) -> int:
        """How many of the leading numbers of a state move the grip point."""
        ...

    @property
    def axis_m(self) -> tuple[float, float]:
        """x and y of the first joint's axis in the base frame."""
        ...

    @property
    def centre_m(self) -> tuple[float, float, float]:
        """Middle of the workspace in the base frame, which a policy's positions count from."""
        ...

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) and rotation (3, 3) of the grip frame for joint angles (J,), J >= joints.

        Column 0 of the rotation points out of the gripper, column 2 along the closing direction.
        """
        ...


@dataclass(frozen=True)
class Link:
    """What lies before a joint, as the `origin` and `axis` of a URDF joint.

    Attributes:
        xyz: offset from the joint before, metres.
        rpy: fixed turn about x, then y, then z, radians.
        axis: unit vector that the joint turns about, in the turned frame; None for the last entry
            of a chain, which leads to the grip frame and does not move.
    """

    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rpy: tuple[float, float, float] = (0.0, 0.0, 0.0)
    axis: tuple[float, float, float] | None = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if self.axis is not None and abs(math.hypot(*self.axis) - 1.0) > 1e-3:
            raise EmbodimentError(f"axis is {list(self.axis)}; expected a vector of length 1")


@dataclass(frozen=True)
class JointChain:
    """Links from the base to the grip frame; the k-th one that moves is turned by joint k."""

    links: tuple[Link, ...]
    centre_m: tuple[float, float, float] = TABLE_ARM_CENTRE_M

    @property
    def joints(self) -> int:
        """How many of the leading joints move the grip point."""
        return sum(link.axis is not None for link in self.links)

    @property
    def axis_m(self) -> tuple[float, float]:
        """x and y of the first joint's axis in the base frame."""
        return self.links[0].xyz[:2]

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Kinematics.forward`."""
        position, rotation = np.zeros(3), np.eye(3)
        angles = iter(joints[: self.joints].tolist())
        for link in self.links:
            position = position + rotation @ link.xyz
            rotation = rotation @ rotation_of_rpy(link.rpy)
            if link.axis is not None:
                rotation = rotation @ _turn(link.axis, next(angles))
        return position, rotation


@dataclass(frozen=True)
class StatedPose:
    """States that begin with the pose of the gripper: x, y, z of the grip point, metres, then the
    orientation of the hand as an axis times its angle, radians.

    Attributes:
        hand: rotation (3, 3), rows, from the grip frame of `Kinematics.forward` to the hand's.
        axis_m: x and y of the axis that the arm turns about, in the frame of the positions.
        centre_m: middle of the workspace there.
    """

    hand: tuple[tuple[float, float, float], ...]
    axis_m: tuple[float, float]
    centre_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def joints(self) -> int:
        """How many of the leading numbers of a state move the grip point."""
        return 6

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Kinematics.forward`; `joints` is a state."""
        turn = np.asarray(joints[3:6], float)
        angle = float(np.linalg.norm(turn))
        # Without an angle any axis does.
        axis = turn / angle if angle else np.array([1.0, 0.0, 0.0])
        return np.array(joints[:3], float), _turn(tuple(axis), angle) @ np.array(self.hand)


def rotation_of_rpy(rpy: tuple[float, float, float]) -> np.ndarray:
    """Rotation (3, 3) of URDF's roll, pitch, yaw: about the fixed x, then y, then z."""
    roll, pitch, yaw = rpy
    about_x, about_y = _turn((1.0, 0.0, 0.0), roll), _turn((0.0, 1.0, 0.0), pitch)
    return _turn((0.0, 0.0, 1.0), yaw) @ about_y @ about_x


def cross_matrix(axis: tuple[float, float, float]) -> np.ndarray:
    """K (3, 3) with K v = axis x v."""
    x, y, z = axis
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _turn(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    """Rotation (3, 3) by `angle` about a unit axis (Rodrigues)."""
    cross = cross_matrix(axis)
    return np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * (cross @ cross)
