"""The health of a stream on the wire: `<stream>/status`, and `/diagnostics` for standard tools."""

from __future__ import annotations

import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from multismolvla.nodes.diagnostics import (
    DIAGNOSTICS_PERIOD_S,
    LEVELS,
    Diagnostics,
    Task,
    checked,
)
from multismolvla.nodes.status_message import STATUS_QOS, sentence, status_values, to_message
from multismolvla.sensing.health import HealthReport, State
from multismolvla.sensing.lag import LagMeter
from multismolvla.sensing.reported_health import STATUS_PERIOD_S
from multismolvla.sensing.stream_checks import frequency_check, stamp_check
from multismolvla.streams import Stream

# A camera that comes and goes must not fill the log; what lasts is logged after this time.
LOG_PERIOD_S = 0.5
_STATUS_BEATS = round(STATUS_PERIOD_S / DIAGNOSTICS_PERIOD_S)


class StatusPublisher:
    """Publishes a stream's status twice a second, and at once when `changed` is called.

    On `/diagnostics`, 5 times a second while there is a subscriber, that is three tasks: health,
    frequency and stamps. A new state, and a new reason for a loss, is also logged in one line.

    Args:
        report: returns the current state.
        slow_fraction: share of the nominal rate below which the frequency is worth a warning.
        lag: how late the node runs.
        on_beat: called with each beat, 5 times a second.
    """

    def __init__(
        self,
        node: Node,
        stream: Stream,
        topic: str,
        report: Callable[[], HealthReport],
        slow_fraction: float,
        lag: LagMeter | None = None,
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._node, self._report = node, report
        self._lag, self._on_beat = lag or LagMeter(), on_beat
        self._stream, self._rate_hz = stream.name, stream.rate_hz
        self._slow_fraction = slow_fraction
        self._status = node.create_publisher(DiagnosticArray, topic, STATUS_QOS)
        self._diagnostics = Diagnostics(node, stream.frame_id.removesuffix("_optical_frame"))
        # The first state is not logged: every stream is lost until its first frames.
        self._logged = self._event(report())
        self._logged_s: dict[State, float] = {}
        self._beats = 0
        self.timer = node.create_timer(DIAGNOSTICS_PERIOD_S, self._beat)

    def changed(self) -> None:
        """Publish now, and log what is new."""
        report = self._report()
        self._publish(report)
        self._diagnose(report)
        self._log(report)

    def _beat(self) -> None:
        self._beats += 1
        self._on_beat()
        slow = self._beats % _STATUS_BEATS == 0
        if not slow and not self._diagnostics.wanted:
            return
        report = self._report()
        if slow:
            self._publish(report)
        self._diagnose(report)
        self._log(report)

    def _log(self, report: HealthReport) -> None:
        """Log a change now or, if the same state was logged a moment ago, with a later status."""
        event, now_s = self._event(report), time.monotonic()
        if event == self._logged or now_s < self._logged_s.get(report.state, 0.0) + LOG_PERIOD_S:
            return
        self._logged, self._logged_s[report.state] = event, now_s
        text, logger = sentence(self._stream, report), self._node.get_logger()
        if report.state is State.OK:
            logger.info(text)
        elif report.state is State.DEGRADED:
            logger.warning(f"{text}; it stays in use")
        else:
            logger.error(f"{text}; masked until good frames come")

    @staticmethod
    def _event(report: HealthReport) -> tuple:
        """Return what two reports of one event have in common."""
        return report.state, report.reasons if report.state is State.LOST else ()

    def _publish(self, report: HealthReport) -> None:
        name, node_name = self._stream, self._node.get_fully_qualified_name()
        now, lag_s = self._node.get_clock().now(), self._lag.worst_s(time.monotonic_ns())
        self._status.publish(to_message(name, node_name, report, now, lag_s))

    def _diagnose(self, report: HealthReport) -> None:
        if not self._diagnostics.wanted:
            return
        name, lag_s = self._stream, self._lag.worst_s(time.monotonic_ns())
        self._diagnostics.publish(
            Task(
                f"{name} health",
                LEVELS[report.state],
                sentence(name, report),
                status_values(report, lag_s),
            ),
            checked(
                f"{name} frequency",
                frequency_check(report.rate_hz, self._rate_hz, self._slow_fraction),
            ),
            checked(f"{name} stamps", stamp_check(report)),
        )
