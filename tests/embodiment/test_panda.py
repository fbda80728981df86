"""LIBERO's Panda: its pose is read out of its state, and holding still is a step of zero."""

import dataclasses

import numpy as np
import pytest
import torch

from multismolvla.embodiment.description import ActionSpace, EmbodimentError
from multismolvla.embodiment.embodiment_file import load_embodiment, load_joint_arm
from multismolvla.embodiment.panda import KINEMATICS, PANDA
from multismolvla.embodiment.so101 import SO101
from multismolvla.policy.gripper_frame import SCALE_M, gripper_pose
from multismolvla.sim.libero import package

# States of LIBERO's simulator after some random steps, and its rotation of the grip site there.
MEASURED = (
    (
        [-0.15953862, -0.02572572, 0.2239603, 3.03952487, -0.20417579, -0.57363664, 0.04, -0.04],
        [
            [0.12139715, 0.92287062, -0.36547578],
            [0.99045888, -0.13681841, -0.0164903],
            [-0.06522223, -0.35998685, -0.93067477],
        ],
    ),
    # An angle beyond pi, as robosuite gives it.
    (
        [-0.09843118, 0.0381074, 1.23852776, 3.20662699, -0.35084849, -0.6069705, 0.0005, -0.0005],
        [
            [0.23375792, 0.9092114, -0.34451687],
            [0.9673696, -0.18186446, 0.17641245],
            [0.09774083, -0.37451295, -0.92205573],
        ],
    ),
)


def check(state, site):
    position, rotation = PANDA.kinematics.forward(np.array(state))
    np.testing.assert_array_equal(position, state[:3])
    site = np.array(site)
    np.testing.assert_allclose(rotation[:, 0], site[:, 2], atol=1e-6)
    np.testing.assert_allclose(rotation[:, 2], site[:, 1], atol=1e-6)
    np.testing.assert_allclose(np.cross(rotation[:, 0], rotation[:, 1]), rotation[:, 2], atol=1e-9)


@pytest.mark.parametrize(("state", "site"), MEASURED)
def test_the_pose_in_a_state_is_the_simulator_s(state, site):
    check(state, site)


@pytest.mark.skipif(not package.installed(), reason="LIBERO is not installed")
def test_the_pose_in_a_state_is_that_of_the_running_simulator():
    from multismolvla.sim.libero.world import LiberoWorld

    world, rng = LiberoWorld(), np.random.default_rng(1)
    world.reset("object/0", 0)
    ranges = [tuple(world.model.joint(f"robot0_{name}").range) for name in PANDA.joint_names]
    assert ranges == [(joint.lower_rad, joint.upper_rad) for joint in PANDA.joints]
    for _ in range(5):
        for _ in range(6):
            world.step(rng.uniform(-1, 1, 7))
        check(world.state(), world.gripper_pose()[1])


def test_a_state_without_a_turn_has_a_pose():
    np.testing.assert_array_equal(
        PANDA.kinematics.forward(np.zeros(8))[1], np.array(PANDA.kinematics.hand)
    )


def test_it_is_found_by_name_and_follows_no_joint_trajectory():
    assert load_embodiment("panda") is PANDA
    assert len(PANDA.state_names) == 8 and len(PANDA.action_names) == 7
    with pytest.raises(EmbodimentError, match="expected an arm that follows joint targets"):
        load_joint_arm("panda")


def test_an_arm_of_deltas_holds_still_with_a_step_of_zero_and_keeps_its_gripper():
    last = np.array([0.1, -0.2, 0.3, 0.4, 0.5, 0.6, -1.0])
    np.testing.assert_array_equal(PANDA.action_space.still(last), [0, 0, 0, 0, 0, 0, -1.0])
    assert PANDA.action_space.still(np.tile(last, (4, 1))).shape == (4, 7)
    pose = SO101.home_rad
    np.testing.assert_array_equal(SO101.action_space.still(pose), pose)
    assert SO101.action_names == SO101.joint_names and SO101.action_space.period_s == 1 / 30


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kept": ("grip",)}, "kept is 'grip'; expected dx, dy"),
        ({"period_s": 0.0}, r"period_s is 0\.0; expected a positive number"),
        ({"kind": "joint_targets"}, "kept is gripper; expected none"),
    ],
)
def test_a_wrong_action_space_is_one_line(change, complaint):
    with pytest.raises(EmbodimentError, match=complaint):
        ActionSpace(**dataclasses.asdict(PANDA.action) | change)


def test_the_policy_computes_the_gripper_as_the_embodiment_does():
    states = np.random.default_rng(1).uniform(-2, 2, (5, 8))
    for pose, state in zip(gripper_pose(KINEMATICS, torch.from_numpy(states)), states, strict=True):
        position, rotation = KINEMATICS.forward(state)
        centred = (position - np.array(KINEMATICS.centre_m)) / SCALE_M
        np.testing.assert_allclose(pose[:3], centred, atol=1e-9)
        np.testing.assert_allclose(pose[3:], rotation.ravel(), atol=1e-9)
