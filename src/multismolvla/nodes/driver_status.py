"""The status of the arm's driver as messages: `~/status` and `/diagnostics`."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from multismolvla.control.safety import SafetyState
from multismolvla.nodes.diagnostics import SLOW_LOOP, Diagnostics, Task, checked, key_values
from multismolvla.robot.calibration import GRIPPER
from multismolvla.robot.protocol import OVERLOAD
from multismolvla.sensing.stream_checks import frequency_check
from multismolvla.stack.arm import ArmStatus

# Warn above this temperature; the servo switches itself off at 70 (STS3215 memory table).
WARM_C = 60.0


class DriverStatus:
    """Publishes what the driver knows of the arm.

    Args:
        port: of the servo bus.
        rate_hz: nominal rate of the control loop.
    """

    def __init__(self, node: Node, port: str, rate_hz: float) -> None:
        self._node, self._port, self._nominal_hz = node, port, rate_hz
        self._publisher = node.create_publisher(DiagnosticArray, "~/status", 1)
        self._diagnostics = Diagnostics(node, f"so101 on {port}")

    def publish(self, report: ArmStatus | None, trouble: str, rate_hz: float, lag_s: float) -> None:
        """Publish the status, and the diagnostics where anybody listens.

        Args:
            report: of the arm runner; None while there is none.
            trouble: why there is none.
            rate_hz: measured rate of the control loop.
            lag_s: how late its periods begin, seconds.
        """
        if report is None:
            level, text = DiagnosticStatus.ERROR, trouble
            values = {"state": "UNCONFIGURED", "reason": trouble, "port": self._port}
        else:
            level, text = _verdict(report)
            values = self._values(report, rate_hz, lag_s)
        node_name = self._node.get_fully_qualified_name()
        status = DiagnosticStatus(
            name="so101_driver",
            hardware_id=node_name,
            level=level,
            message=text,
            values=key_values(values),
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
        if not self._diagnostics.wanted:
            return
        read_hz = rate_hz if report is not None and report.connected else 0.0
        check = frequency_check(read_hz, self._nominal_hz, SLOW_LOOP)
        self._diagnostics.publish(
            Task("arm", level, text, values), checked("joint_states frequency", check)
        )

    def _values(self, report: ArmStatus, rate_hz: float, lag_s: float) -> dict[str, object]:
        values: dict[str, object] = {
            "state": report.state.value,
            "reason": report.fault or report.reason,
            "port": self._port,
            "connected": int(report.connected),
            "torque": int(report.torque),
            "rate_hz": f"{rate_hz:.1f}",
            "bus_errors": report.bus_errors,
            "bus_retries": report.bus_retries,
            "lag_ms": f"{lag_s * 1e3:.0f}",
        }
        for joint, read in report.diagnostics.items():
            values[f"voltage_v.{joint}"] = f"{read.voltage_v:.1f}"
            values[f"temperature_c.{joint}"] = f"{read.temperature_c:.0f}"
            values[f"current_a.{joint}"] = f"{read.current_a:.2f}"
        return values


def _verdict(report: ArmStatus) -> tuple[bytes, str]:
    """Level and sentence of the status."""
    if report.fault:
        return DiagnosticStatus.ERROR, report.fault
    warm = [name for name, read in report.diagnostics.items() if read.temperature_c > WARM_C]
    if report.servo_fault:
        return DiagnosticStatus.WARN, f"holding: {report.servo_fault}"
    if not report.torque:
        return DiagnosticStatus.WARN, "torque is off: the arm is limp"
    if report.state in (SafetyState.HOLD, SafetyState.STOPPED):
        return DiagnosticStatus.WARN, f"holding: {report.reason}"
    if warm:
        return DiagnosticStatus.WARN, f"hot: {', '.join(warm)}; let the arm rest"
    gripper = report.diagnostics.get(GRIPPER)
    if gripper is not None and gripper.status_bits & OVERLOAD:
        return DiagnosticStatus.WARN, "gripper reports overload: it grips weakly until it opens"
    if report.warning:
        return DiagnosticStatus.WARN, report.warning
    if report.state is SafetyState.IDLE:
        return DiagnosticStatus.OK, report.reason
    return DiagnosticStatus.OK, report.reason or "following commands"
