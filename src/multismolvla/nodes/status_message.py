"""A stream's health as a message: one DiagnosticStatus in a DiagnosticArray."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import QoSProfile
from rclpy.time import Time

from multismolvla.nodes.diagnostics import LEVELS, key_values
from multismolvla.sensing.health import HealthReport, State
from multismolvla.sensing.reported_health import StreamStatus, parse_status

STATUS_QOS = QoSProfile(depth=1)
_WORDS = {State.OK: "OK", State.DEGRADED: "degraded", State.LOST: "lost"}


def sentence(stream: str, report: HealthReport) -> str:
    """The state of a stream as a sentence for people."""
    text = f"{stream} is {_WORDS[report.state]}"
    if report.reasons:
        text += f": {', '.join(report.reasons)}"
    return f"{text} ({report.detail})" if report.detail else text


def status_values(report: HealthReport, lag_s: float = 0.0) -> dict[str, str]:
    """The report's fields by name, as text, and how late the node runs."""
    return {
        "state": report.state.name,
        "reason": ",".join(report.reasons),
        "rate_hz": f"{report.rate_hz:.2f}",
        "age_s": f"{report.age_s:.3f}",
        "frames": str(report.frames),
        "lag_ms": f"{lag_s * 1e3:.0f}",
        "no_value_share": f"{report.no_value_share:.3f}",
    }


def to_message(
    stream: str, hardware_id: str, report: HealthReport, now: Time, lag_s: float = 0.0
) -> DiagnosticArray:
    """Return the status message of one stream."""
    status = DiagnosticStatus(
        level=LEVELS[report.state],
        name=stream,
        message=sentence(stream, report),
        hardware_id=hardware_id,
        values=key_values(status_values(report, lag_s)),
    )
    message = DiagnosticArray(status=[status])
    message.header.stamp = now.to_msg()
    return message


def from_message(message: DiagnosticArray) -> StreamStatus:
    """Read a status message.

    Raises:
        ValueError: it is not a stream's status.
    """
    if not message.status:
        raise ValueError("not the status of a stream: it is empty")
    return parse_status({pair.key: pair.value for pair in message.status[0].values})


def reported(message: DiagnosticArray) -> dict[str, str]:
    """Read the one status of a policy or a driver: its values, and its `level` and `message`.

    Raises:
        ValueError: the message has not exactly one status.
    """
    if len(message.status) != 1:
        raise ValueError(f"{len(message.status)} statuses; expected one")
    (status,) = message.status
    values = {pair.key: pair.value for pair in status.values}
    return values | {"level": str(status.level[0]), "message": status.message}
