"""The statuses of streams as they come in: the newest of each, and the silence of a dead node."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from multismolvla.nodes.status_message import STATUS_QOS, from_message
from multismolvla.sensing.reported_health import LATE_S, ReportedHealth, StreamStatus


class StatusMonitor:
    """Keeps the newest status of every stream; one that stays away counts as a lost stream."""

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
        self._streams = {stream: ReportedHealth(late_s) for stream in streams}
        self._listeners = [on_change] if on_change else []
        self._subscriptions = [
            node.create_subscription(
                DiagnosticArray,
                f"{stream}/status",
                lambda message, stream=stream: self._on_status(stream, message),
                STATUS_QOS,
            )
            for stream in self._streams
        ]
        self._timer = node.create_timer(late_s / 4.0, self._on_timer)

    @property
    def statuses(self) -> dict[str, StreamStatus]:
        """Stream -> newest status; lost with `status_late` before the first."""
        return {stream: health.status for stream, health in self._streams.items()}

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def add_listener(self, on_change: Callable[[str, StreamStatus], None]) -> None:
        """Have another callback called on every change."""
        self._listeners.append(on_change)

    def alive(self, stream: str) -> bool:
        """Whether the stream may be used and is worth waiting for."""
        return self._streams[stream].status.alive

    def _on_status(self, stream: str, message: DiagnosticArray) -> None:
        try:
            status = from_message(message)
        except ValueError as error:
            # It then counts as late, which masks the stream.
            self._node.get_logger().warning(
                f"{stream}/status: {error}; ignored", throttle_duration_sec=5.0
            )
            return
        self._update(stream, lambda health, now_ns: health.on_status(status, now_ns))

    def _on_timer(self) -> None:
        for stream in self._streams:
            self._update(stream, ReportedHealth.tick)

    def _update(self, stream: str, change: Callable[[ReportedHealth, int], None]) -> None:
        health = self._streams[stream]
        before = health.state, health.reasons
        change(health, self._node.get_clock().now().nanoseconds)
        if (health.state, health.reasons) != before:
            for listener in self._listeners:
                listener(stream, health.status)
