"""Forward and closed-form inverse kinematics of the SO-101, for the point between its fingertips.

The arm is a pan joint, three parallel pitch joints in the vertical plane that the pan joint turns,
and a roll joint along the hand. The grip point lies on the roll axis, so roll does not move it and
the inverse has a closed form. Lengths are those of sim/assets/so101.xml, which names their
source.
"""

from __future__ import annotations

import math

import numpy as np

# Shoulder pan axis in base_link; shoulder lift axis in the arm's plane (radius, height).
PAN_X = 0.0388353
LIFT_RADIUS, LIFT_HEIGHT = 0.0303992, 0.1166
UPPER_ARM = (0.028, 0.11257)
LOWER_ARM = (0.1349, 0.0052)
HAND_LENGTH = 0.0611 + 0.0881
# The calibration's zero of wrist_roll leaves the hand turned by this much.
ROLL_TWIST = 0.0486797

DOWN = math.pi / 2

_UPPER_LENGTH, _LOWER_LENGTH = math.hypot(*UPPER_ARM), math.hypot(*LOWER_ARM)
_LONGEST, _SHORTEST = _UPPER_LENGTH + _LOWER_LENGTH, _LOWER_LENGTH - _UPPER_LENGTH
_UPPER_ELEVATION = math.atan2(UPPER_ARM[1], UPPER_ARM[0])
_LOWER_ELEVATION = math.atan2(LOWER_ARM[1], LOWER_ARM[0])


class UnreachableError(ValueError):
    """No joint angles put the grip point there at that pitch."""


def forward(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pose of the grip frame for joint angles (at least the first five), radians.

    Returns:
        position (3,) in base_link, metres, and rotation (3, 3): column 0 points out of the hand,
        column 1 along the fingers' width, column 2 from the fixed finger to the moving one.
    """
    pan, lift, elbow, wrist, roll = joints[:5].tolist()
    radius, height = LIFT_RADIUS, LIFT_HEIGHT
    pitch = 0.0
    for angle, (along, up) in (
        (lift, UPPER_ARM),
        (elbow, LOWER_ARM),
        (wrist, (HAND_LENGTH, 0.0)),
    ):
        pitch += angle
        cosine, sine = math.cos(pitch), math.sin(pitch)
        radius += along * cosine + up * sine
        height += up * cosine - along * sine
    cos_pan, sin_pan = math.cos(pan), -math.sin(pan)
    cos_pitch, sin_pitch = math.cos(pitch), math.sin(pitch)
    turn = ROLL_TWIST - roll
    cos_turn, sin_turn = math.cos(turn), math.sin(turn)
    position = np.array([PAN_X + radius * cos_pan, radius * sin_pan, height])
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


def inverse(position: np.ndarray, pitch: float = DOWN, roll: float = 0.0) -> np.ndarray:
    """Joint angles (5,) that put the grip point at `position` with the hand pitched by `pitch`.

    The solution with the elbow up and the hand in front of the pan axis; joint limits are not
    checked.

    Args:
        position: (3,) in base_link, metres.
        pitch: angle of the hand below the horizontal, radians; `DOWN` points straight down.
        roll: angle of the roll joint, radians.

    Raises:
        UnreachableError: the wrist would be farther than the arm is long, or too close.
    """
    x, y, z = (float(value) for value in position)
    joints = solve(x, y, z, pitch, roll)
    if joints is None:
        reach = math.hypot(*_wrist(x, y, z, pitch))
        raise UnreachableError(
            f"({x:.3f}, {y:.3f}, {z:.3f}) m at pitch {pitch:.2f} rad needs a reach of "
            f"{reach:.3f} m from the shoulder; the arm has {_SHORTEST:.3f} to {_LONGEST:.3f} m"
        )
    return np.array(joints)


def solve(
    x: float, y: float, z: float, pitch: float, roll: float
) -> tuple[float, float, float, float, float] | None:
    """`inverse` in plain numbers, for the expert's many questions; None where there is no way."""
    pan = -math.atan2(y, x - PAN_X)
    radius, height = _wrist(x, y, z, pitch)
    reach = math.hypot(radius, height)
    if not _SHORTEST < reach < _LONGEST:
        return None
    cosine = (_UPPER_LENGTH**2 + reach**2 - _LOWER_LENGTH**2) / (2 * _UPPER_LENGTH * reach)
    upper = math.atan2(height, radius) + math.acos(max(-1.0, min(1.0, cosine)))
    lower = math.atan2(
        height - _UPPER_LENGTH * math.sin(upper), radius - _UPPER_LENGTH * math.cos(upper)
    )
    lift = _wrap(_UPPER_ELEVATION - upper)
    elbow = _wrap(_LOWER_ELEVATION - lower - lift)
    return pan, lift, elbow, _wrap(pitch - lift - elbow), roll


def roll_for_closing_yaw(yaw: float, pan: float) -> float:
    """Roll with which the fingers of a hand pointing down close along the horizontal `yaw`."""
    return _wrap(yaw + pan + ROLL_TWIST)


def _wrist(x: float, y: float, z: float, pitch: float) -> tuple[float, float]:
    """Radius and height of the wrist, from the shoulder."""
    radius = math.hypot(x - PAN_X, y) - HAND_LENGTH * math.cos(pitch) - LIFT_RADIUS
    return radius, z + HAND_LENGTH * math.sin(pitch) - LIFT_HEIGHT


def _wrap(angle: float) -> float:
    return math.remainder(angle, 2 * math.pi)
