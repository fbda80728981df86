"""Where the hand is, from the joints, and where things are for it.

What the arm has to do next depends on where an object lies relative to the hand far more simply
than on where both are. Kinematics is known, so no weights are spent on learning it.
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
# Numbers of `seen_from_hand`.
RELATIVE = 14


def hand_pose(joints: Tensor) -> Tensor:
    """Joint angles (..., 6), radians, to (..., 12): the grip point in base_link, centred and scaled
    as above, and the rotation of the hand, row by row. See `kinematics.forward`."""
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
    """Places (B, n, 3) in the hand's frame, in units of `SCALE_M`, to base_link, centred.

    Args:
        pose: (B, 12) of `hand_pose`.
    """
    # Sums, not matrix products: those lose digits where training computes them in half precision.
    rotation = pose[:, None, 3:].unflatten(-1, (3, 3))
    return pose[:, None, :3] + (rotation * places[..., None, :]).sum(dim=-1)


def seen_from_hand(places: Tensor, headings: Tensor, pose: Tensor) -> Tensor:
    """Where things are for the hand and for the arm: (B, n, 14).

    In the hand's frame 3; in the arm's plane 3 (away from the pan axis, across, up; from the hand);
    azimuth and distance about the pan axis 2, likewise from the hand's 2; headings relative to the
    arm's plane, for things that look the same twice or four times in a turn, 4.

    Args:
        places: (B, n, 3) in base_link, centred; headings: (B, n, 2) cosine and sine.
        pose: (B, 12) of `hand_pose`.
    """
    grip, rotation = pose[:, None, :3], pose[:, None, 3:].unflatten(-1, (3, 3))
    way = places - grip
    in_hand = (rotation * way[..., None]).sum(dim=-2)
    axis_x = (PAN_X - CENTRE_M[0]) / SCALE_M

    def polar(place: Tensor) -> tuple[Tensor, Tensor]:
        x, y = place[..., 0] - axis_x, place[..., 1]
        # A place on the axis itself has no azimuth, and must not have an endless gradient.
        return torch.atan2(y, x + 1e-6), (x.square() + y.square() + 1e-6).sqrt()

    azimuth, radius = polar(places)
    hand_azimuth, hand_radius = polar(grip)
    cosine, sine = hand_azimuth.cos(), hand_azimuth.sin()
    away = cosine * way[..., 0] + sine * way[..., 1]
    across = cosine * way[..., 1] - sine * way[..., 0]
    turned = []
    for symmetry in (2, 4):
        cosine, sine = (symmetry * hand_azimuth).cos(), (symmetry * hand_azimuth).sin()
        turned.append(headings[..., 0] * cosine + headings[..., 1] * sine)
        turned.append(headings[..., 1] * cosine - headings[..., 0] * sine)
    rest = [away, across, way[..., 2], azimuth, radius, azimuth - hand_azimuth]
    rest += [radius - hand_radius, *turned]
    return torch.cat((in_hand, torch.stack(rest, dim=-1)), dim=-1)
