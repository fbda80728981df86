"""The messages that the policy node publishes, from plain values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from multismolvla.arm import JOINT_NAMES
from multismolvla.control.policy_view import StreamMask
from multismolvla.policy.dry_run import DryRunReport


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


def dry_run_values(report: DryRunReport, threshold: float) -> dict[str, str]:
    """The figures of a dry run as values of the status; `threshold` is what its latency implies."""
    values = {
        "load_s": f"{report.load_s:.2f}",
        "first_ms": f"{report.first_s * 1e3:.1f}",
        "median_ms": f"{report.median_s * 1e3:.1f}",
        "memory_mb": f"{report.peak_memory_bytes / 1e6:.0f}",
        "parameters": str(report.parameters),
        "threshold": f"{threshold:.3f}",
    }
    if report.one_stream_s is not None:
        values["one_stream_ms"] = f"{report.one_stream_s * 1e3:.1f}"
    if report.choice is not None:
        values["precision"] = report.choice.precision
        values["threads"] = str(report.choice.threads)
        values["choice"] = report.choice.reason
    return {f"dry_run.{key}": value for key, value in values.items()}


def dry_run_line(report: DryRunReport, threshold: float) -> str:
    """The same for a person, after the policy's name."""
    alone = ""
    if report.one_stream_s is not None:
        alone = f", {report.one_stream_s * 1e3:.0f} with one stream"
    return (
        f"{report.median_s * 1e3:.0f} ms per chunk (first {report.first_s * 1e3:.0f}{alone}), "
        f"{report.peak_memory_bytes / 1e6:.0f} MB, {report.parameters / 1e6:.1f} M parameters "
        f"loaded in {report.load_s:.1f} s, queue threshold {threshold:.2f}"
        + (f"; {report.choice.reason}" if report.choice else "")
    )
