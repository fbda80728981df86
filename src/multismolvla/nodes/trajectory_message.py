"""Setpoints of the arm as `trajectory_msgs/JointTrajectory`, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from multismolvla.control.trajectory import Trajectory


def trajectory_message(
    joint_names: Sequence[str], stamp_ns: int, offsets_ns: Sequence[int], targets: np.ndarray
) -> JointTrajectory:
    """Targets (N, J) of these joints in radians at `stamp_ns + offsets_ns[i]`."""
    message = JointTrajectory(joint_names=list(joint_names))
    message.header.stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    message.points = [
        JointTrajectoryPoint(
            positions=row,
            time_from_start=Duration(sec=offset // 10**9, nanosec=offset % 10**9),
        )
        for offset, row in zip(offsets_ns, targets.tolist(), strict=True)
    ]
    return message


def read_trajectory(
    message: JointTrajectory, now_ns: int, joint_names: Sequence[str]
) -> Trajectory:
    """The trajectory of a message, for an arm with these joints.

    A stamp of zero means now, as for ros2_control's joint_trajectory_controller.

    Raises:
        TrajectoryError: names, times or positions do not fit the arm or are not finite.
    """
    stamp = message.header.stamp
    return Trajectory(
        stamp.sec * 10**9 + stamp.nanosec or now_ns,
        message.joint_names,
        [p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in message.points],
        [point.positions for point in message.points],
        joint_names,
    )
