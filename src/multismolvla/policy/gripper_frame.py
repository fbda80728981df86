"""The gripper's pose from the joints, and positions of objects relative to it.

The next motion depends on an object's position relative to the gripper much more simply than on
both positions. Kinematics is known, so no weights are spent on it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multismolvla.kinematics import (
    HAND_LENGTH,
    LIFT_HEIGHT,
    LIFT_RADIUS,
    LOWER_ARM,
    PAN_X,
    ROLL_TWIST,
    UPPER_ARM,
)

# Middle of the workspace in base_link, and the length that counts as 1: metres.
CENTRE_M = (0.20, 0.0, 0.03)
SCALE_M = 0.1
# Numbers of `seen_from_gripper`.
RELATIVE = 14


def gripper_pose(joints: Tensor) -> Tensor:
    """Joint angles (..., 6), radians, to (..., 12): the grip point in base_link, centred and scaled
    as above, and the rotation of the gripper, row by row. See `kinematics.forward`."""
    pan, lift, elbow, wrist, roll = joints[..., :5].unbind(-1)
    radius, height = torch.full_like(pan, LIFT_RADIUS), torch.full_like(pan, LIFT_HEIGHT)
    pitch = torch.zeros_like(pan)
    for angle, (along, up) in ((lift, UPPER_ARM), (elbow, LOWER_ARM), (wrist, (HAND_LENGTH, 0.0))):
        pitch = pitch + angle
        radius = radius + along * pitch.cos() + up * pitch.sin()
        height = height + up * pitch.cos() - along * pitch.sin()
    cos_pan, sin_pan = pan.cos(), -pan.sin()
    cos_pitch, sin_pitch = pitch.cos(), pitch.sin()
    turn = ROLL_TWIST - roll
    cos_turn, sin_turn = turn.cos(), turn.sin()
    x = (PAN_X + radius * cos_pan - CENTRE_M[0]) / SCALE_M
    y = (radius * sin_pan - CENTRE_M[1]) / SCALE_M
    z = (height - CENTRE_M[2]) / SCALE_M
    # About z by the pan, about y by the pitch, about x by the roll.
    along_y = (sin_pitch * sin_turn, cos_turn, cos_pitch * sin_turn)
    along_z = (sin_pitch * cos_turn, -sin_turn, cos_pitch * cos_turn)
    columns = ((cos_pitch, torch.zeros_like(pan), -sin_pitch), along_y, along_z)
    rows = [
        [cos_pan * a - sin_pan * b for a, b, _ in columns],
        [sin_pan * a + cos_pan * b for a, b, _ in columns],
        [c for _, _, c in columns],
    ]
    return torch.stack([x, y, z, *(value for row in rows for value in row)], dim=-1)


def to_base(places: Tensor, pose: Tensor) -> Tensor:
    """Positions (B, n, 3) in the gripper's frame, in units of `SCALE_M`, to base_link, centred.

    Args:
        pose: (B, 12) of `gripper_pose`.
    """
    # Sums, not matrix products: those lose digits where training computes them in half precision.
    rotation = pose[:, None, 3:].unflatten(-1, (3, 3))
    return pose[:, None, :3] + (rotation * places[..., None, :]).sum(dim=-1)


def seen_from_gripper(places: Tensor, headings: Tensor, pose: Tensor) -> Tensor:
    """Positions of objects relative to gripper and arm: (B, n, 14).

    In the gripper's frame 3; in the arm's plane 3 (away from the pan axis, across, up; from the
    gripper); azimuth and distance about the pan axis 2, likewise from the gripper's 2; headings
    relative to the arm's plane, for objects of two- or fourfold symmetry, 4.

    Args:
        places: (B, n, 3) in base_link, centred; headings: (B, n, 2) cosine and sine.
        pose: (B, 12) of `gripper_pose`.
    """
    grip, rotation = pose[:, None, :3], pose[:, None, 3:].unflatten(-1, (3, 3))
    offset = places - grip
    in_gripper = (rotation * offset[..., None]).sum(dim=-2)
    axis_x = (PAN_X - CENTRE_M[0]) / SCALE_M

    def polar(place: Tensor) -> tuple[Tensor, Tensor]:
        x, y = place[..., 0] - axis_x, place[..., 1]
        # A position on the axis has no azimuth; its gradient must stay finite.
        return torch.atan2(y, x + 1e-6), (x.square() + y.square() + 1e-6).sqrt()

    azimuth, radius = polar(places)
    gripper_azimuth, gripper_radius = polar(grip)
    cosine, sine = gripper_azimuth.cos(), gripper_azimuth.sin()
    away = cosine * offset[..., 0] + sine * offset[..., 1]
    across = cosine * offset[..., 1] - sine * offset[..., 0]
    turned = []
    for symmetry in (2, 4):
        cosine, sine = (symmetry * gripper_azimuth).cos(), (symmetry * gripper_azimuth).sin()
        turned.append(headings[..., 0] * cosine + headings[..., 1] * sine)
        turned.append(headings[..., 1] * cosine - headings[..., 0] * sine)
    rest = [away, across, offset[..., 2], azimuth, radius, azimuth - gripper_azimuth]
    rest += [radius - gripper_radius, *turned]
    return torch.cat((in_gripper, torch.stack(rest, dim=-1)), dim=-1)
