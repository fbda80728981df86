"""Radians to the model's numbers and back."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.config import tiny
from multismolvla.policy.gripper_frame import gripper_pose
from multismolvla.policy.normalization import Normalizer
from multismolvla.streams import Stream

CONFIG = dataclasses.replace(
    tiny((Stream("rgb", "rgb", 32, 32, 15.0, "camera_optical_frame"),), SO101),
    max_state_dim=10,
    max_action_dim=8,
)
MEAN = torch.tensor([0.1, -0.2, 0.3, -0.4, 0.5, 0.6])
STD = torch.tensor([0.5, 1.0, 2.0, 0.25, 0.1, 3.0])
STATISTICS = {
    "state_mean": MEAN,
    "state_std": STD,
    "action_mean": -MEAN,
    "action_std": 2 * STD,
}


def test_without_statistics_no_number_changes():
    normalizer = Normalizer(CONFIG, KINEMATICS)
    joints = torch.linspace(-1, 1, 6)
    assert torch.equal(normalizer.normalize_state(joints)[:6], joints)
    assert torch.equal(normalizer.normalize_action(joints)[:6], joints)
    assert torch.equal(normalizer.unnormalize_action(joints), joints)


def test_states_and_actions_have_their_own_statistics_and_widths():
    normalizer = Normalizer(CONFIG, KINEMATICS, **STATISTICS)
    state = normalizer.normalize_state((MEAN + STD).double().expand(2, 6))
    assert state.shape == (2, 10) and state.dtype == torch.float32
    torch.testing.assert_close(state[:, :6], torch.ones(2, 6))
    assert not state[:, 6:].any()
    action = normalizer.normalize_action((-MEAN - 4 * STD).expand(3, 5, 6))
    assert action.shape == (3, 5, 8)
    torch.testing.assert_close(action[..., :6], torch.full((3, 5, 6), -2.0))
    assert not action[..., 6:].any()


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6))
def test_an_action_comes_back(joints):
    normalizer = Normalizer(CONFIG, KINEMATICS, **STATISTICS)
    joints = torch.tensor(joints)
    back = normalizer.unnormalize_action(normalizer.normalize_action(joints))
    torch.testing.assert_close(back, joints, atol=1e-5, rtol=1e-5)


def test_what_pads_an_action_never_reaches_the_arm():
    normalizer = Normalizer(CONFIG, KINEMATICS, **STATISTICS)
    action = torch.full((5, 8), torch.nan)
    action[:, :6] = 0.0
    torch.testing.assert_close(normalizer.unnormalize_action(action), -MEAN.expand(5, 6))


def test_a_joint_that_never_moved_gives_finite_numbers():
    normalizer = Normalizer(CONFIG, KINEMATICS, state_mean=MEAN, state_std=torch.zeros(6))
    assert not normalizer.normalize_state(MEAN).any()
    # The epsilon is LeRobot's, so that its checkpoints get the numbers they were trained on.
    moved = normalizer.normalize_state(MEAN + 1e-3)[:6]
    torch.testing.assert_close(moved, torch.full((6,), 1e5), rtol=1e-3, atol=0)


def test_statistics_travel_with_the_state_dict():
    saved = Normalizer(CONFIG, KINEMATICS, **STATISTICS).state_dict()
    loaded = Normalizer(CONFIG, KINEMATICS)
    loaded.load_state_dict(saved)
    assert torch.equal(loaded.action_std, 2 * STD)


def test_statistics_do_not_share_memory_with_the_caller():
    mean = MEAN.clone()
    normalizer = Normalizer(CONFIG, KINEMATICS, state_mean=mean)
    mean += 1
    assert torch.equal(normalizer.state_mean, MEAN)


@pytest.mark.parametrize(
    ("given_statistics", "said"),
    [
        ({"state_mean": torch.zeros(7)}, r"state_mean has shape \(7,\); expected \(6,\)"),
        ({"action_std": torch.tensor(1.0)}, r"action_std has shape \(\); expected \(6,\)"),
        ({"action_mean": MEAN * torch.nan}, "action_mean is .* expected finite"),
        ({"state_std": STD * torch.inf}, "state_std is .* expected finite"),
        ({"state_std": -STD}, "state_std is .* expected no negative"),
    ],
)
def test_impossible_statistics_are_refused(given_statistics, said):
    with pytest.raises(ValueError, match=said):
        Normalizer(CONFIG, KINEMATICS, **given_statistics)


RELATIVE = dataclasses.replace(CONFIG, relative_joints=CONFIG.joints[:5])


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6))
def test_relative_actions_follow_the_state_they_start_from(joints):
    state = torch.tensor(joints)
    rows = torch.arange(CONFIG.chunk_size)[:, None] + torch.arange(6.0)
    normalizer = Normalizer(RELATIVE, KINEMATICS, action_mean=0.1 * rows, action_std=1.0 + rows)
    chunk = state + 0.01 * rows
    normalized = normalizer.normalize_action(chunk, state)
    moved = normalizer.unnormalize_action(normalized, state + 0.5)
    # The gripper's target is an angle, whatever the gripper's own angle is.
    expected = chunk + 0.5 * torch.tensor([1, 1, 1, 1, 1, 0])
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=1e-4)


def test_relative_actions_are_refused_without_a_state():
    with pytest.raises(ValueError, match="need the state"):
        Normalizer(RELATIVE, KINEMATICS).normalize_action(torch.zeros(CONFIG.chunk_size, 6))


def test_with_objects_the_state_says_where_the_hand_is():
    """The pose is that of the joints themselves, whatever their statistics are."""
    told = dataclasses.replace(CONFIG, max_state_dim=20, objects=("red_cube",))
    joints = torch.tensor([0.4, -0.5, 0.6, 1.2, -0.3, 0.2])
    state = Normalizer(told, KINEMATICS, **STATISTICS).normalize_state(joints.double().expand(2, 6))
    assert state.shape == (2, 20) and state.dtype == torch.float32
    torch.testing.assert_close(state[0, :6], (joints - MEAN) / STD)
    torch.testing.assert_close(state[1, 6:18], gripper_pose(KINEMATICS, joints))
    assert not state[:, 18:].any()
