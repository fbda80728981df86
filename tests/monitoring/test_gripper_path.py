"""The planned path runs ahead of the clock and fades; the executed one is where the gripper was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.monitoring.gripper_path import (
    FAINTEST,
    ExecutedPath,
    PlannedPath,
    in_arm_order,
)

PERIOD_NS = 50_000_000
START_NS = 10**18
shares = arrays(np.float64, st.tuples(st.integers(2, 30), st.just(6)), elements=st.floats(0, 1))


def chunk(share: np.ndarray) -> tuple[list[int], np.ndarray]:
    times = [START_NS + i * PERIOD_NS for i in range(len(share))]
    return times, SO101.lower_rad + share * (SO101.upper_rad - SO101.lower_rad)


@given(shares, st.floats(-1, 35))
def test_what_is_ahead_is_the_rest_of_the_chunk_and_fades_to_its_end(share, rows_passed):
    times, joints = chunk(share)
    path = PlannedPath(KINEMATICS)
    path.plan(times, joints)
    now_ns = START_NS + round(rows_passed * PERIOD_NS)
    points, opacity = path.ahead(now_ns)
    left = [row for time, row in zip(times, joints, strict=True) if time > now_ns]
    if not left:
        assert len(points) == len(opacity) == 0
        return
    begun = now_ns >= times[0]
    assert len(points) == len(opacity) == len(left) + begun
    expected = [KINEMATICS.forward(row)[0] for row in left]
    np.testing.assert_allclose(points[begun:], expected, atol=1e-9)
    assert opacity[0] == 1.0
    assert np.all(np.diff(opacity) < 0)
    if len(opacity) > 1:
        assert opacity[-1] == pytest.approx(FAINTEST)


def test_the_path_begins_where_the_gripper_should_be_now():
    times, joints = chunk(np.linspace(0.4, 0.6, 12).reshape(2, 6))
    path = PlannedPath(KINEMATICS)
    path.plan(times, joints)
    points, _ = path.ahead(START_NS + PERIOD_NS // 2)
    middle = (KINEMATICS.forward(joints[0])[0] + KINEMATICS.forward(joints[1])[0]) / 2
    np.testing.assert_allclose(points[0], middle, atol=1e-6)


def test_a_plan_whose_times_do_not_rise_is_refused_and_the_old_one_stays():
    path = PlannedPath(KINEMATICS)
    path.plan(*chunk(np.full((3, 6), 0.5)))
    with pytest.raises(ValueError, match="rise"):
        path.plan([START_NS, START_NS], np.zeros((2, 6)))
    assert len(path.ahead(START_NS - 1)[0]) == 3


@given(st.permutations(range(6)))
def test_joints_are_put_in_the_order_of_the_arm(order):
    names = [SO101.joint_names[i] for i in order]
    rows = [[float(i) for i in order], [10.0 + i for i in order]]
    np.testing.assert_array_equal(
        in_arm_order(SO101.joint_names, names, rows), [range(6), range(10, 16)]
    )


@pytest.mark.parametrize(
    ("names", "rows", "said"),
    [
        ([], [], "shoulder_pan"),
        ([*SO101.joint_names, "gripper"], [[0.0] * 7], "'gripper' once"),
        (SO101.joint_names, [[0.0] * 5], "5 positions for 6 joints"),
        (SO101.joint_names, [[0.0] * 5 + [float("nan")]], "not finite"),
        (SO101.joint_names, [[0.0] * 6] * 2001, "at most 2000"),
    ],
)
def test_joints_that_cannot_be_used_are_refused_in_one_line(names, rows, said):
    with pytest.raises(ValueError, match=said):
        in_arm_order(SO101.joint_names, names, rows)


def test_a_still_arm_adds_nothing_and_old_points_go():
    path = ExecutedPath(KINEMATICS, span_s=1.0)
    for i in range(100):
        path.add(i, SO101.home_rad)
    assert len(path.poses(100)) == 1
    moved = SO101.home_rad + np.array([0.5, 0, 0, 0, 0, 0])
    path.add(10**9, moved)
    assert [pose.stamp_ns for pose in path.poses(10**9)] == [0, 10**9]
    assert [pose.stamp_ns for pose in path.poses(10**9 + 1)] == [10**9]


def test_a_turn_of_the_hand_in_place_is_part_of_the_path():
    path = ExecutedPath(KINEMATICS)
    path.add(0, SO101.home_rad)
    path.add(1, SO101.home_rad + np.array([0, 0, 0, 0, 0.5, 0]))
    first, second = path.poses(1)
    assert first.position == pytest.approx(second.position)
    assert first.quaternion != pytest.approx(second.quaternion)


def test_a_clock_that_was_set_back_starts_a_new_path():
    path = ExecutedPath(KINEMATICS)
    path.add(5 * 10**9, SO101.home_rad)
    path.add(10**9, SO101.home_rad)
    assert [pose.stamp_ns for pose in path.poses(10**9)] == [10**9]


@given(arrays(np.float64, 6, elements=st.floats(0, 1)))
def test_poses_have_the_position_and_rotation_of_the_grip_frame(share):
    joints = SO101.lower_rad + share * (SO101.upper_rad - SO101.lower_rad)
    path = ExecutedPath(KINEMATICS)
    path.add(0, joints)
    (pose,) = path.poses(0)
    position, rotation = KINEMATICS.forward(joints)
    np.testing.assert_allclose(pose.position, position, atol=1e-12)
    x, y, z, w = pose.quaternion
    assert x * x + y * y + z * z + w * w == pytest.approx(1.0)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    np.testing.assert_allclose(np.eye(3) + 2 * w * cross + 2 * cross @ cross, rotation, atol=1e-9)
