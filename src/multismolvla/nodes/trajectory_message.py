"""Setpoints of the arm as `trajectory_msgs/JointTrajectory`, and back.

Steps of an arm that is commanded by them go the same way, under the names of their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from multismolvla.control.trajectory import Trajectory


def trajectory_message(
    names: Sequence[str], times_ns: np.ndarray, targets: np.ndarray
) -> JointTrajectory:
    """Targets (N, A) at `times_ns` (N,): radians for joints, or steps."""
    message = JointTrajectory(joint_names=list(names))
    start, *_ = times = times_ns.tolist()
    message.header.stamp = Time(sec=start // 10**9, nanosec=start % 10**9)
    message.points = [
        JointTrajectoryPoint(
            positions=row,
            time_from_start=Duration(sec=offset // 10**9, nanosec=offset % 10**9),
        )
        for offset, row in zip((time - start for time in times), targets.tolist(), strict=True)
    ]
    return message


def read_trajectory(message: JointTrajectory, now_ns: int, names: Sequence[str]) -> Trajectory:
    """The trajectory of a message, for an arm whose actions have numbers of these names.

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
        names,
    )
