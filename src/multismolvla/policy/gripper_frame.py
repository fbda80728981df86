"""The gripper's pose from the joints, and positions of objects relative to it.

The next motion depends on an object's position relative to the gripper much more simply than on
both positions. Kinematics is known, so no weights are spent on it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from multismolvla.embodiment.kinematics import (
    JointChain,
    Kinematics,
    StatedPose,
    cross_matrix,
    rotation_of_rpy,
)
from multismolvla.embodiment.pan_pitch_arm import PanPitchArm

# The length that counts as 1, metres. Positions count from the kinematics' `centre_m`.
SCALE_M = 0.1
# Numbers of `seen_from_gripper`.
RELATIVE = 14


def gripper_pose(kinematics: Kinematics, joints: Tensor) -> Tensor:
    """States (..., J) to (..., 12): the grip point in the base frame, centred and scaled as above,
    and the rotation of the gripper, row by row. See `Kinematics.forward`.

    Raises:
        ValueError: these kinematics cannot be computed by torch.
    """
    if isinstance(kinematics, PanPitchArm):
        return _pan_pitch_pose(kinematics, joints)
    if isinstance(kinematics, JointChain):
        return _chain_pose(kinematics, joints)
    if isinstance(kinematics, StatedPose):
        return _stated_pose(kinematics, joints)
    name = type(kinematics).__name__
    raise ValueError(f"kinematics is a {name}; expected PanPitchArm, JointChain or StatedPose")


def _centred(place: Tensor, centre_m: tuple[float, float, float]) -> Tensor:
    return (place - place.new_tensor(centre_m)) / SCALE_M


def _pan_pitch_pose(arm: PanPitchArm, joints: Tensor) -> Tensor:
    pan, lift, elbow, wrist, roll = joints[..., :5].unbind(-1)
    radius, height = (torch.full_like(pan, value) for value in arm.lift)
    pitch = torch.zeros_like(pan)
    links = ((lift, arm.upper_arm), (elbow, arm.lower_arm), (wrist, (arm.gripper_length, 0.0)))
    for angle, (along, up) in links:
        pitch = pitch + angle
        radius = radius + along * pitch.cos() + up * pitch.sin()
        height = height + up * pitch.cos() - along * pitch.sin()
    cos_pan, sin_pan = pan.cos(), -pan.sin()
    cos_pitch, sin_pitch = pitch.cos(), pitch.sin()
    turn = arm.roll_twist - roll
    cos_turn, sin_turn = turn.cos(), turn.sin()
    x, y, z = _centred(
        torch.stack([arm.pan_x + radius * cos_pan, radius * sin_pan, height], dim=-1), arm.centre_m
    ).unbind(-1)
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


def _chain_pose(chain: JointChain, joints: Tensor) -> Tensor:
    position, rotation = joints.new_zeros(3), torch.eye(3).to(joints)
    angles = iter(joints[..., : chain.joints, None, None].unbind(-3))
    for link in chain.links:
        position = position + rotation @ joints.new_tensor(link.xyz)
        rotation = rotation @ torch.from_numpy(rotation_of_rpy(link.rpy)).to(joints)
        if link.axis is not None:
            cross, angle = torch.from_numpy(cross_matrix(link.axis)).to(joints), next(angles)
            turn = angle.sin() * cross + (1.0 - angle.cos()) * (cross @ cross)
            rotation = rotation + rotation @ turn
    return torch.cat((_centred(position, chain.centre_m), rotation.flatten(-2)), dim=-1)


def _stated_pose(stated: StatedPose, state: Tensor) -> Tensor:
    turn = state[..., 3:6]
    angle = turn.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    x, y, z = (turn / angle).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    angle = angle[..., None]
    rotation = torch.eye(3).to(state) + angle.sin() * cross + (1.0 - angle.cos()) * cross @ cross
    rotation = rotation @ torch.from_numpy(np.array(stated.hand)).to(state)
    return torch.cat((_centred(state[..., :3], stated.centre_m), rotation.flatten(-2)), dim=-1)


def to_base(places: Tensor, pose: Tensor) -> Tensor:
    """Places (B, n, 3) in the gripper's frame, in units of `SCALE_M`, to base_link, centred.

    Args:
        pose: (B, 12) of `gripper_pose`.
    """
    # Sums, not matrix products: those lose digits where training computes them in half precision.
    rotation = pose[:, None, 3:].unflatten(-1, (3, 3))
    return pose[:, None, :3] + (rotation * places[..., None, :]).sum(dim=-1)


def seen_from_gripper(
    places: Tensor,
    headings: Tensor,
    pose: Tensor,
    axis_m: tuple[float, float],
    centre_m: tuple[float, float, float],
) -> Tensor:
    """Where things are for the gripper and for the arm: (B, n, 14).

    In the gripper's frame 3; in the arm's plane 3 (away from the first joint's axis, across, up;
    from the gripper); azimuth and distance about that axis 2, likewise from the gripper's 2;
    headings relative to the arm's plane, for things that look the same twice or four times in a
    turn, 4.

    Args:
        places: (B, n, 3) in the base frame, centred; headings: (B, n, 2) cosine and sine.
        pose: (B, 12) of `gripper_pose`.
        axis_m: x and y of the first joint's axis in the base frame, metres; centre_m: what the
            places count from.
    """
    grip, rotation = pose[:, None, :3], pose[:, None, 3:].unflatten(-1, (3, 3))
    offset = places - grip
    in_gripper = (rotation * offset[..., None]).sum(dim=-2)
    axis_x, axis_y = ((axis_m[k] - centre_m[k]) / SCALE_M for k in range(2))

    def polar(place: Tensor) -> tuple[Tensor, Tensor]:
        x, y = place[..., 0] - axis_x, place[..., 1] - axis_y
        # A place on the axis itself has no azimuth, and must not have an endless gradient.
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
