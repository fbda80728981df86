"""The pose of the gripper, and places as the gripper and the arm have them."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.config import GRIPPER_POSE
from multismolvla.policy.gripper_frame import (
    RELATIVE,
    SCALE_M,
    gripper_pose,
    seen_from_gripper,
    to_base,
)

# Of the numbers of `seen_from_gripper`.
IN_GRIPPER, IN_PLANE, AZIMUTH = slice(0, 3), slice(3, 6), 6

joints = arrays(np.float64, 6, elements=st.floats(0, 1)).map(
    lambda share: SO101.lower_rad + share * (SO101.upper_rad - SO101.lower_rad)
)
seen_from = partial(seen_from_gripper, axis_m=KINEMATICS.axis_m, centre_m=KINEMATICS.centre_m)
places = arrays(np.float64, (4, 3), elements=st.floats(-0.3, 0.3))


def centred(metres: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((metres - np.array(KINEMATICS.centre_m)) / SCALE_M)


def headings(yaw: np.ndarray, symmetry: int) -> torch.Tensor:
    """(n, 2) of things that look the same `symmetry` times in a turn."""
    angle = torch.from_numpy(symmetry * yaw)
    return torch.stack((angle.cos(), angle.sin()), dim=-1)


@settings(max_examples=60, deadline=None)
@given(joints)
def test_the_pose_is_that_of_the_kinematics(angles):
    position, rotation = KINEMATICS.forward(angles)
    pose = gripper_pose(KINEMATICS, torch.from_numpy(angles))
    assert pose.shape == (GRIPPER_POSE,)
    torch.testing.assert_close(pose[:3], centred(position), atol=1e-9, rtol=0)
    torch.testing.assert_close(pose[3:], torch.from_numpy(rotation.ravel()), atol=1e-9, rtol=0)


def test_poses_are_told_for_any_number_of_joints_at_once():
    angles = torch.rand(2, 5, 6) - 0.5
    poses = gripper_pose(KINEMATICS, angles)
    torch.testing.assert_close(poses[1, 3], gripper_pose(KINEMATICS, angles[1, 3]))


@settings(max_examples=60, deadline=None)
@given(joints, places)
def test_what_the_gripper_has_somewhere_is_where_it_is(angles, metres):
    pose, there = gripper_pose(KINEMATICS, torch.from_numpy(angles))[None], centred(metres)[None]
    seen = seen_from(there, torch.zeros(1, 4, 2, dtype=torch.float64), pose)
    assert seen.shape == (1, 4, RELATIVE)
    torch.testing.assert_close(to_base(seen[..., IN_GRIPPER], pose), there, atol=1e-9, rtol=0)


def test_a_place_ahead_of_the_fingertips_is_on_the_first_axis_of_the_gripper():
    angles = np.array([0.4, -0.5, 0.6, 1.2, -0.3, 0.2])
    position, rotation = KINEMATICS.forward(angles)
    ahead = centred(position + 0.05 * rotation[:, 0])[None, None]
    pose = gripper_pose(KINEMATICS, torch.from_numpy(angles))[None]
    seen = seen_from(ahead, torch.zeros(1, 1, 2, dtype=torch.float64), pose)
    expected = torch.tensor([0.05 / SCALE_M, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(seen[0, 0, IN_GRIPPER], expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("symmetry", [2, 4])
@pytest.mark.parametrize("turn", [-0.7, 0.2, 0.5])
def test_what_turns_with_the_arm_stays_for_the_arm_what_it_was(turn, symmetry):
    """The pan joint, the places and the headings, all turned about the pan axis."""
    rng = np.random.default_rng(0)
    angles = np.array([0.1, -0.4, 0.5, 1.1, 0.3, 0.2])
    metres = rng.uniform((0.15, -0.1, 0.0), (0.3, 0.1, 0.1), (4, 3))
    yaw = rng.uniform(-3, 3, 4)
    turned_angles = angles.copy()
    turned_angles[0] -= turn  # the pan joint turns clockwise seen from above
    axis = np.array([KINEMATICS.pan_x, 0.0, 0.0])
    cosine, sine = np.cos(turn), np.sin(turn)
    about_z = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    turned = axis + (metres - axis) @ about_z.T
    before, after = (
        seen_from(
            centred(where)[None],
            headings(how, symmetry)[None],
            gripper_pose(KINEMATICS, torch.from_numpy(pose))[None],
        )[0]
        for where, how, pose in ((metres, yaw, angles), (turned, yaw + turn, turned_angles))
    )
    same = torch.ones(RELATIVE, dtype=torch.bool)
    same[AZIMUTH] = False
    # Of the headings, two numbers serve this symmetry and two the other.
    same[10:] = torch.arange(4) // 2 == (0 if symmetry == 2 else 1)
    torch.testing.assert_close(after[:, same], before[:, same], atol=1e-5, rtol=0)
    turned_by = torch.full((4,), turn, dtype=torch.float64)
    torch.testing.assert_close(after[:, AZIMUTH] - before[:, AZIMUTH], turned_by, atol=1e-5, rtol=0)
    # And the arm's plane is not the room: with the places alone it changes.
    pose = gripper_pose(KINEMATICS, torch.from_numpy(angles))[None]
    alone = seen_from(centred(turned)[None], headings(yaw + turn, symmetry)[None], pose)[0]
    assert (alone[:, IN_PLANE] - before[:, IN_PLANE]).abs().max() > 0.1


def test_a_place_on_the_pan_axis_has_finite_numbers_and_gradients():
    there = centred(np.array([[KINEMATICS.pan_x, 0.0, 0.1]]))[None].requires_grad_()
    pose = gripper_pose(KINEMATICS, torch.zeros(1, 6, dtype=torch.float64))
    seen = seen_from(there, torch.zeros(1, 1, 2, dtype=torch.float64), pose)
    seen.sum().backward()
    assert seen.isfinite().all() and there.grad.isfinite().all()
