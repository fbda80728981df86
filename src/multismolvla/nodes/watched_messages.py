"""From what the stack says to what the monitors show."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from multismolvla.embodiment.description import Embodiment
from multismolvla.monitoring.gripper_path import in_arm_order
from multismolvla.monitoring.health_panel import StreamState
from multismolvla.nodes.stamp_ns import stamp_ns
from multismolvla.sensing.reported_health import StreamStatus


def planned(message: JointTrajectory, arm: Embodiment) -> tuple[list[int], np.ndarray]:
    """Times (N,), nanoseconds, and positions (N, J) of the arm's joints in a chunk.

    Raises:
        ValueError: it has other joints than the arm.
    """
    start_ns = stamp_ns(message.header.stamp)
    positions = [point.positions for point in message.points]
    times_ns = [start_ns + stamp_ns(point.time_from_start) for point in message.points]
    return times_ns, in_arm_order(arm.joint_names, arm.own_names(message.joint_names), positions)


def joint_angles(message: JointState, arm: Embodiment) -> np.ndarray:
    """Angles (J,) of the arm's joints; ValueError where it has other joints than the arm."""
    names = arm.own_names(message.name)
    return in_arm_order(arm.joint_names, names, [message.position])[0]


def stream_states(statuses: Mapping[str, StreamStatus]) -> dict[str, StreamState]:
    """What is shown of each stream."""
    return {
        name: StreamState(status.state.name, status.reasons, status.rate_hz)
        for name, status in statuses.items()
    }
