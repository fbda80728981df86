"""The frames of a robot description at given joint angles, as robot_state_publisher has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from multismolvla.monitoring.urdf import Joint, Quaternion, RobotShapes, Vector, multiply


class Transform(NamedTuple):
    """Pose of `child` in `parent`: metres; w, x, y, z."""

    parent: str
    child: str
    position: Vector
    wxyz: Quaternion


class Frames:
    """Which frames never move against each other, and where the others are.

    A frame is still if only fixed joints lie between it and the root of the description.
    """

    def __init__(self, robot: RobotShapes) -> None:
        self._robot = robot
        still = {robot.root}
        for joint in robot.joints:
            if joint.axis is None and joint.parent in still:
                still.add(joint.child)
        self.root = robot.root
        self.still = still - {robot.root}
        self.moving = {joint.child for joint in robot.joints} - still
        self.joints = [joint.name for joint in robot.joints if joint.axis is not None]

    def fixed(self) -> list[Transform]:
        """Transforms of the fixed joints, for `/tf_static`."""
        return [_at(joint, 0.0) for joint in self._robot.joints if joint.axis is None]

    def turned(self, angles: Mapping[str, float]) -> list[Transform]:
        """Transforms of the other joints at these angles, radians, for `/tf`."""
        movable = (joint for joint in self._robot.joints if joint.axis is not None)
        return [_at(joint, angles[joint.name]) for joint in movable if joint.name in angles]

    def poses(self, angles: Mapping[str, float]) -> dict[str, Transform]:
        """Frame -> its pose in the root; frames behind a joint without an angle are left out."""
        found = {self.root: Transform(self.root, self.root, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))}
        for step in self._known(angles):
            base = found.get(step.parent)
            if base is not None:
                x, y, z = rotated(base.wxyz, step.position)
                place = (base.position[0] + x, base.position[1] + y, base.position[2] + z)
                turn = multiply(base.wxyz, step.wxyz)
                found[step.child] = Transform(self.root, step.child, place, turn)
        del found[self.root]
        return found

    def _known(self, angles: Mapping[str, float]) -> Iterator[Transform]:
        for joint in self._robot.joints:
            if joint.axis is None or joint.name in angles:
                yield _at(joint, angles.get(joint.name, 0.0))


def rotated(wxyz: Quaternion, vector: Vector) -> Vector:
    """The vector, turned by a unit quaternion."""
    w, x, y, z = wxyz
    turned = multiply(multiply(wxyz, (0.0, *vector)), (w, -x, -y, -z))
    return turned[1:]


def _at(joint: Joint, angle: float) -> Transform:
    return Transform(joint.parent, joint.child, joint.position, joint.turned(angle))
