"""The closed-form kinematics agree with the MuJoCo model and invert each other."""

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from multismolvla.embodiment.pan_pitch_arm import UnreachableError
from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.sim.simulation import SCENE_FILE

MODEL = mujoco.MjModel.from_xml_path(str(SCENE_FILE))
DATA = mujoco.MjData(MODEL)

unit = arrays(np.float64, 6, elements=st.floats(0, 1))


@settings(max_examples=60, deadline=None)
@given(unit)
def test_forward_agrees_with_the_model(share):
    joints = SO101.lower_rad + share * (SO101.upper_rad - SO101.lower_rad)
    DATA.qpos[:6] = joints
    mujoco.mj_kinematics(MODEL, DATA)
    position, rotation = KINEMATICS.forward(joints)
    np.testing.assert_allclose(position, DATA.site("grip").xpos, atol=1e-6)
    np.testing.assert_allclose(rotation.ravel(), DATA.site("grip").xmat, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.12, 0.30), st.floats(-1.5, 1.5), st.floats(0, 0.15), st.floats(0.5, 1.6), unit)
def test_inverse_puts_the_grip_point_where_it_was_asked(radius, angle, height, pitch, share):
    asked = np.array([radius * np.cos(angle), radius * np.sin(angle), height])
    try:
        joints = KINEMATICS.inverse(asked, pitch, roll=share[0])
    except UnreachableError:
        return
    position, rotation = KINEMATICS.forward(joints)
    np.testing.assert_allclose(position, asked, atol=1e-9)
    assert -rotation[2, 0] == pytest.approx(np.sin(pitch), abs=1e-9)
    assert joints[4] == share[0]


def test_inverse_finds_the_elbow_up_angles_again():
    joints = np.array([0.4, -0.5, 0.6, 1.2, -0.3])
    position, _ = KINEMATICS.forward(joints)
    np.testing.assert_allclose(KINEMATICS.inverse(position, 1.3, -0.3), joints, atol=1e-9)


def test_a_point_beyond_the_arm_is_refused_with_its_distance():
    with pytest.raises(UnreachableError, match=r"needs a reach of 0\.\d+ m"):
        KINEMATICS.inverse(np.array([0.6, 0.0, 0.1]))


def test_closing_yaw_is_the_direction_in_which_the_fingers_close():
    joints = KINEMATICS.inverse(np.array([0.2, 0.05, 0.02]))
    joints[4] = KINEMATICS.roll_for_closing_yaw(0.7, joints[0])
    _, rotation = KINEMATICS.forward(joints)
    assert np.arctan2(rotation[1, 2], rotation[0, 2]) == pytest.approx(0.7, abs=1e-6)


def test_joint_limits_of_the_model_are_those_of_the_arm():
    ranges = np.array([MODEL.joint(name).range for name in SO101.joint_names])
    np.testing.assert_allclose(ranges[:, 0], SO101.lower_rad, atol=1e-5)
    np.testing.assert_allclose(ranges[:, 1], SO101.upper_rad, atol=1e-5)
