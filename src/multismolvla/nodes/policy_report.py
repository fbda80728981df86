"""What the policy node reports: `policy/status`, and its tasks on `/diagnostics`."""

from __future__ import annotations

from collections.abc import Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from multismolvla.control.load_shedding import Load
from multismolvla.control.policy_view import StreamMask
from multismolvla.nodes import load_message
from multismolvla.nodes.diagnostics import SLOW_LOOP, Diagnostics, Task, checked, key_values
from multismolvla.sensing.stream_checks import frequency_check
from multismolvla.stack.policy_runner import PolicyRunner
from multismolvla.stack.settings import PolicySettings

STATUS_PERIOD_S = 0.2


class PolicyReport:
    """Publishes what a runner knows."""

    def __init__(self, node: Node, runner: PolicyRunner, settings: PolicySettings) -> None:
        self._node, self._runner, self._settings = node, runner, settings
        self._status = node.create_publisher(DiagnosticArray, "policy/status", 1)
        self._diagnostics = Diagnostics(node, "policy")

    def publish(self, now_ns: int, rate_hz: float, load: Load, dry_run: Mapping[str, str]) -> None:
        """Publish the status, and the diagnostics where anybody listens.

        Args:
            rate_hz: measured rate of the control loop.
            dry_run: figures of the policy's dry run.
        """
        values = {
            **self._runner.values(now_ns),
            "control_rate_hz": f"{rate_hz:.2f}",
            **load_message.load_values(load),
            **dry_run,
        }
        name = self._node.get_fully_qualified_name()
        message = policy_status(now_ns, name, values, self._runner.mask)
        self._status.publish(message)
        if not self._diagnostics.wanted:
            return
        status, contradiction = message.status[0], self._runner.contradiction
        checks = self._settings.pose_check
        self._diagnostics.publish(
            Task(
                "pose check",
                DiagnosticStatus.WARN if contradiction else DiagnosticStatus.OK,
                contradiction or ("off" if checks == "none" else "images fit the joints"),
                {"weights": checks},
            ),
            Task("policy", status.level, status.message, values),
            load_message.to_task(load),
            checked(
                "control frequency",
                frequency_check(rate_hz, self._settings.control_rate_hz, SLOW_LOOP),
            ),
        )


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
        *key_values(values),
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
