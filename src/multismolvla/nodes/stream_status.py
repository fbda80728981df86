"""The health of a stream on the wire: `<stream>/status`, and `/diagnostics` for standard tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.time import Time

from multismolvla.sensing.health import HealthReport, State

STATUS_QOS = QoSProfile(depth=1)
STATUS_PERIOD_S = 0.2
# /diagnostics is for people and logs: REP 107 has its publishers speak once a second.
DIAGNOSTICS_PERIOD_S = 1.0
# Three statuses in a row must be missing before silence counts as the publisher's death.
LATE_S = 3 * STATUS_PERIOD_S

_LEVELS = {
    State.OK: DiagnosticStatus.OK,
    State.DEGRADED: DiagnosticStatus.WARN,
    State.LOST: DiagnosticStatus.ERROR,
}
_WORDS = {State.OK: "OK", State.DEGRADED: "degraded", State.LOST: "lost"}


@dataclass(frozen=True)
class StreamStatus:
    """What is known of one stream on the receiving side.

    Attributes:
        reasons: health reasons; `status_late` where the status itself does not come.
    """

    state: State = State.LOST
    reasons: tuple[str, ...] = ("status_late",)
    rate_hz: float = 0.0
    age_s: float = float("inf")
    frames: int = 0

    @property
    def alive(self) -> bool:
        """Whether the stream may be used and is worth waiting for."""
        return self.state is not State.LOST


def sentence(stream: str, report: HealthReport) -> str:
    """Say in one sentence for a person how the stream is."""
    said = f"{stream} is {_WORDS[report.state]}"
    if report.reasons:
        said += f": {', '.join(report.reasons)}"
    return f"{said} ({report.detail})" if report.detail else said


def to_message(stream: str, hardware_id: str, report: HealthReport, now: Time) -> DiagnosticArray:
    """Return the status message of one stream."""
    values = {
        "state": report.state.name,
        "reason": ",".join(report.reasons),
        "rate_hz": f"{report.rate_hz:.2f}",
        "age_s": f"{report.age_s:.3f}",
        "frames": str(report.frames),
    }
    status = DiagnosticStatus(
        level=_LEVELS[report.state],
        name=stream,
        message=sentence(stream, report),
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    message = DiagnosticArray(status=[status])
    message.header.stamp = now.to_msg()
    return message


def from_message(message: DiagnosticArray) -> StreamStatus:
    """Read a status message.

    Raises:
        ValueError: it is not a stream's status.
    """
    try:
        values = {pair.key: pair.value for pair in message.status[0].values}
        return StreamStatus(
            state=State[values["state"]],
            reasons=tuple(reason for reason in values["reason"].split(",") if reason),
            rate_hz=float(values["rate_hz"]),
            age_s=float(values["age_s"]),
            frames=int(values["frames"]),
        )
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError(f"not the status of a stream: {type(error).__name__}: {error}") from None


class StatusPublisher:
    """Publishes a stream's status 5 times a second, and at once when `changed` is called.

    `report` is asked for the state of now. A change of state is also logged, in one line.
    """

    def __init__(
        self, node: Node, stream: str, topic: str, report: Callable[[], HealthReport]
    ) -> None:
        self._node, self._stream, self._report = node, stream, report
        self._status = node.create_publisher(DiagnosticArray, topic, STATUS_QOS)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._ticks_per_diagnostics = round(DIAGNOSTICS_PERIOD_S / STATUS_PERIOD_S)
        self._ticks = 0
        self._logged = State.LOST
        self.timer = node.create_timer(STATUS_PERIOD_S, self._on_timer)

    def changed(self) -> None:
        """Publish now, everywhere, and log the state if it is a new one."""
        report = self._report()
        self._publish(report, everywhere=True)
        if report.state is self._logged:
            return
        self._logged = report.state
        text = sentence(self._stream, report)
        if report.state is State.OK:
            self._node.get_logger().info(text)
        elif report.state is State.DEGRADED:
            self._node.get_logger().warning(f"{text}; it stays in use")
        else:
            self._node.get_logger().error(f"{text}; masked until good frames come")

    def _on_timer(self) -> None:
        self._publish(self._report(), everywhere=self._ticks % self._ticks_per_diagnostics == 0)
        self._ticks += 1

    def _publish(self, report: HealthReport, everywhere: bool) -> None:
        message = to_message(
            self._stream,
            self._node.get_fully_qualified_name(),
            report,
            self._node.get_clock().now(),
        )
        self._status.publish(message)
        if everywhere:
            self._diagnostics.publish(message)


class StatusMonitor:
    """Keeps the newest status of every stream; one that stays away counts as a lost stream.

    Attributes:
        statuses: stream -> newest status; lost with `status_late` before the first.
    """

    def __init__(
        self,
        node: Node,
        streams: Iterable[str],
        on_change: Callable[[str, StreamStatus], None] | None = None,
        late_s: float = LATE_S,
    ) -> None:
        """Subscribe to `<stream>/status` of each stream, relative to the node's namespace.

        Args:
            on_change: called with a stream and its status when state or reasons change.
            late_s: silence after which a status counts as late.
        """
        self._node = node
        self._late_ns = round(late_s * 1e9)
        self.statuses = {stream: StreamStatus() for stream in streams}
        self._received_ns: dict[str, int] = {}
        self._listeners = [on_change] if on_change else []
        for stream in self.statuses:
            node.create_subscription(
                DiagnosticArray,
                f"{stream}/status",
                lambda message, stream=stream: self._on_status(stream, message),
                STATUS_QOS,
            )
        node.create_timer(late_s / 4.0, self._on_timer)

    def add_listener(self, on_change: Callable[[str, StreamStatus], None]) -> None:
        """Have another callback called on every change."""
        self._listeners.append(on_change)

    def alive(self, stream: str) -> bool:
        """Whether the stream may be used and is worth waiting for."""
        return self.statuses[stream].alive

    def _on_status(self, stream: str, message: DiagnosticArray) -> None:
        try:
            status = from_message(message)
        except ValueError as error:
            # It then counts as late, which masks the stream.
            self._node.get_logger().warning(
                f"{stream}/status: {error}; ignored", throttle_duration_sec=5.0
            )
            return
        self._received_ns[stream] = self._node.get_clock().now().nanoseconds
        self._set(stream, status)

    def _on_timer(self) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        for stream, received_ns in list(self._received_ns.items()):
            if now_ns < received_ns:  # The clock was set back.
                self._received_ns[stream] = now_ns
            elif now_ns - received_ns > self._late_ns:
                del self._received_ns[stream]
                last = self.statuses[stream]
                self._set(
                    stream, StreamStatus(age_s=last.age_s + self._late_ns / 1e9, frames=last.frames)
                )

    def _set(self, stream: str, status: StreamStatus) -> None:
        before = self.statuses[stream]
        self.statuses[stream] = status
        if (status.state, status.reasons) != (before.state, before.reasons):
            for listener in self._listeners:
                listener(stream, status)
