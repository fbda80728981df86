"""Trajectory: joints matched by name, sampled by linear interpolation, wrong ones refused."""

import numpy as np
import pytest

from multismolvla.control.trajectory import Trajectory, TrajectoryError
from multismolvla.embodiment.so101 import SO101

ROW = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_joints_are_matched_by_name():
    trajectory = Trajectory(0, SO101.joint_names[::-1], [0.0], [ROW[::-1]], SO101.joint_names)
    np.testing.assert_array_equal(trajectory.sample(0)[0], ROW)


def test_interpolates_between_points_and_rests_beyond_them():
    end = [value + 1.0 for value in ROW]
    trajectory = Trajectory(10**9, SO101.joint_names, [0.0, 0.1], [ROW, end], SO101.joint_names)
    position, velocity = trajectory.sample(10**9 + 25_000_000)
    np.testing.assert_allclose(position, np.add(ROW, 0.25))
    np.testing.assert_allclose(velocity, 10.0)
    for now_ns, expected in ((0, ROW), (3 * 10**9, end)):
        position, velocity = trajectory.sample(now_ns)
        np.testing.assert_allclose(position, expected)
        assert not velocity.any()


@pytest.mark.parametrize(
    ("names", "offsets", "rows", "message"),
    [
        ((*SO101.joint_names[:5], "tail"), [0.0], [ROW], "unknown joint 'tail'"),
        (SO101.joint_names[:5], [0.0], [ROW[:5]], "joint 'gripper' is there 0 times"),
        ((*SO101.joint_names, "gripper"), [0.0], [[*ROW, 0.0]], "'gripper' is there 2 times"),
        (SO101.joint_names, [], [], "no points"),
        (SO101.joint_names, [0.0], [ROW[:3]], "a point has 3 positions"),
        (
            SO101.joint_names,
            [0.0],
            [[*ROW[:5], float("nan")]],
            "gripper has a position that is not",
        ),
        (SO101.joint_names, [0.0, 0.0], [ROW, ROW], "does not increase"),
        (SO101.joint_names, [0.0, float("inf")], [ROW, ROW], "does not increase"),
    ],
)
def test_refuses(names, offsets, rows, message):
    with pytest.raises(TrajectoryError, match=message):
        Trajectory(0, names, offsets, rows, SO101.joint_names)
