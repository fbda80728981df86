"""The messages that the policy node publishes, from plain values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from multismolvla.arm import JOINT_NAMES
from multismolvla.control.stream_mask import StreamMask


def trajectory(stamp_ns: int, offsets_ns: list[int], targets: np.ndarray) -> JointTrajectory:
    """Targets (N, 6) in radians at `stamp_ns + offsets_ns[i]`."""
    message = JointTrajectory(joint_names=list(JOINT_NAMES))
    message.header.stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    message.points = [
        JointTrajectoryPoint(
            positions=row,
            time_from_start=Duration(sec=offset // 10**9, nanosec=offset % 10**9),
        )
        for offset, row in zip(offsets_ns, targets.tolist(), strict=True)
    ]
    return message


def policy_status(
    stamp_ns: int, node_name: str, values: Mapping[str, object], mask: StreamMask
) -> DiagnosticArray:
    """One status named `policy`; `values` has at least `mode` and `reason`."""
    mode, reason = str(values["mode"]), str(values["reason"])
    status = DiagnosticStatus(name="policy", hardware_id=node_name)
    # A hold is not a fault of this node, but somebody should look; idle is as it should be.
    status.level = DiagnosticStatus.WARN if mode != "idle" and reason else DiagnosticStatus.OK
    status.message = f"{mode}: {reason}" if reason else mode
    status.values = [
        *(KeyValue(key=key, value=str(value)) for key, value in values.items()),
        *(
            KeyValue(key=f"mask.{name}", value="1" if available else "0")
            for name, available in mask.available.items()
        ),
        *(
            KeyValue(key=f"mask_reason.{name}", value=reason)
            for name, reason in mask.reasons.items()
        ),
    ]
    message = DiagnosticArray(status=[status])
    message.header.stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return message
