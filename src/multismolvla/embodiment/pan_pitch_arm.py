"""Closed-form kinematics of an arm with a pan joint, three parallel pitch joints and a roll joint.

The pitch joints lie in the vertical plane that the pan joint turns; the roll joint turns about the
gripper's own axis. The grip point lies on the roll axis, so roll does not move it and the inverse
has a closed form. The SO-100, the SO-101 and their like are such arms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multismolvla.embodiment.kinematics import TABLE_ARM_CENTRE_M

DOWN = math.pi / 2


class UnreachableError(ValueError):
    """No joint angles put the grip point there at that pitch."""


@dataclass(frozen=True)
class PanPitchArm:
    """Lengths in metres, in the plane of the pitch joints as (along, up) at zero angles.

    Attributes:
        pan_x: pan axis in base_link.
        lift: radius and height of the first pitch axis.
        upper_arm, lower_arm: from one pitch axis to the next.
        gripper_length: from the last pitch axis to the grip point.
        roll_twist: by which the gripper is turned at the roll joint's zero, radians.
    """

    pan_x: float
    lift: tuple[float, float]
    upper_arm: tuple[float, float]
    lower_arm: tuple[float, float]
    gripper_length: float
    roll_twist: float = 0.0
    centre_m: tuple[float, float, float] = TABLE_ARM_CENTRE_M

    @property
    def joints(self) -> int:
        """How many of the leading joints move the grip point."""
        return 5

    @property
    def axis_m(self) -> tuple[float, float]:
        """The pan axis, x and y in base_link."""
        return self.pan_x, 0.0

    @cached_property
    def _lengths(self) -> tuple[float, float]:
        return math.hypot(*self.upper_arm), math.hypot(*self.lower_arm)

    @cached_property
    def _elevations(self) -> tuple[float, float]:
        (upper_along, upper_up), (lower_along, lower_up) = self.upper_arm, self.lower_arm
        return math.atan2(upper_up, upper_along), math.atan2(lower_up, lower_along)

    @cached_property
    def _reach(self) -> tuple[float, float]:
        """Shortest and longest distance of the last pitch axis from the first."""
        upper, lower = self._lengths
        return lower - upper, upper + lower

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pose of the grip frame for joint angles (at least the first five), radians.

        Returns:
            position (3,) in base_link, metres, and rotation (3, 3): column 0 points out of the
            gripper, column 1 along the fingers' width, column 2 from the fixed finger to the
            moving one.
        """
        pan, lift, elbow, wrist, roll = joints[:5].tolist()
        radius, height = self.lift
        pitch = 0.0
        for angle, (along, up) in (
            (lift, self.upper_arm),
            (elbow, self.lower_arm),
            (wrist, (self.gripper_length, 0.0)),
        ):
            pitch += angle
            cosine, sine = math.cos(pitch), math.sin(pitch)
            radius += along * cosine + up * sine
            height += up * cosine - along * sine
        cos_pan, sin_pan = math.cos(pan), -math.sin(pan)
        cos_pitch, sin_pitch = math.cos(pitch), math.sin(pitch)
        turn = self.roll_twist - roll
        cos_turn, sin_turn = math.cos(turn), math.sin(turn)
        position = np.array([self.pan_x + radius * cos_pan, radius * sin_pan, height])
        # About z by the pan, about y by the pitch, about x by the turn, multiplied out.
        x, y = cos_pan * sin_pitch, sin_pan * sin_pitch
        rotation = np.array(
            [
                [
                    cos_pan * cos_pitch,
                    x * sin_turn - sin_pan * cos_turn,
                    sin_pan * sin_turn + x * cos_turn,
                ],
                [
                    sin_pan * cos_pitch,
                    cos_pan * cos_turn + y * sin_turn,
                    y * cos_turn - cos_pan * sin_turn,
                ],
                [-sin_pitch, cos_pitch * sin_turn, cos_pitch * cos_turn],
            ]
        )
        return position, rotation

    def inverse(self, position: np.ndarray, pitch: float = DOWN, roll: float = 0.0) -> np.ndarray:
        """Joint angles (5,) that put the grip point at `position`, the gripper pitched by `pitch`.

        The solution with the elbow up and the gripper in front of the pan axis; joint limits are
        not checked.

        Args:
            position: (3,) in base_link, metres.
            pitch: angle of the gripper below the horizontal, radians; `DOWN` points straight down.
            roll: angle of the roll joint, radians.

        Raises:
            UnreachableError: the wrist would be farther than the arm is long, or too close.
        """
        x, y, z = (float(value) for value in position)
        joints = self.solve(x, y, z, pitch, roll)
        if joints is None:
            reach = math.hypot(*self._wrist(x, y, z, pitch))
            shortest, longest = self._reach
            raise UnreachableError(
                f"({x:.3f}, {y:.3f}, {z:.3f}) m at pitch {pitch:.2f} rad needs a reach of "
                f"{reach:.3f} m from the shoulder; the arm has {shortest:.3f} to {longest:.3f} m"
            )
        return np.array(joints)

    def solve(
        self, x: float, y: float, z: float, pitch: float, roll: float
    ) -> tuple[float, float, float, float, float] | None:
        """`inverse` in plain numbers, for the expert's many calls; None where out of reach."""
        pan = -math.atan2(y, x - self.pan_x)
        radius, height = self._wrist(x, y, z, pitch)
        reach = math.hypot(radius, height)
        shortest, longest = self._reach
        if not shortest < reach < longest:
            return None
        upper_length, lower_length = self._lengths
        upper_elevation, lower_elevation = self._elevations
        cosine = (upper_length**2 + reach**2 - lower_length**2) / (2 * upper_length * reach)
        upper = math.atan2(height, radius) + math.acos(max(-1.0, min(1.0, cosine)))
        lower = math.atan2(
            height - upper_length * math.sin(upper), radius - upper_length * math.cos(upper)
        )
        lift = _wrap(upper_elevation - upper)
        elbow = _wrap(lower_elevation - lower - lift)
        return pan, lift, elbow, _wrap(pitch - lift - elbow), roll

    def roll_for_closing_yaw(self, yaw: float, pan: float) -> float:
        """Roll with which the fingers of a gripper that points down close along the horizontal
        `yaw`."""
        return _wrap(yaw + pan + self.roll_twist)

    def _wrist(self, x: float, y: float, z: float, pitch: float) -> tuple[float, float]:
        """Radius and height of the wrist, from the shoulder."""
        lift_radius, lift_height = self.lift
        length = self.gripper_length
        radius = math.hypot(x - self.pan_x, y) - length * math.cos(pitch) - lift_radius
        return radius, z + length * math.sin(pitch) - lift_height


def _wrap(angle: float) -> float:
    return math.remainder(angle, 2 * math.pi)
