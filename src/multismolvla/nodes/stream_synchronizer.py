"""The dropout-tolerant synchroniser as a message filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from message_filters import SimpleFilter
from rclpy.node import Node

from multismolvla.nodes.deadline_timer import DeadlineTimer
from multismolvla.nodes.stamp_ns import stamp_ns
from multismolvla.nodes.status_monitor import StatusMonitor
from multismolvla.sensing.reported_health import StreamStatus
from multismolvla.sensing.synchronizer import SynchronizedSet, Synchronizer


class StreamSynchronizer(SimpleFilter):
    """Calls back with a `SynchronizedSet` per period, whatever streams are alive.

    Takes messages with a header from one filter per stream, in the order of the streams, and the
    health of the streams from a `StatusMonitor`; without one every stream counts as alive. Where
    it had to wait for a message, it calls back from a timer of the node.
    """

    def __init__(
        self,
        node: Node,
        inputs: Mapping[str, SimpleFilter],
        *,
        slop_s: float,
        max_wait_s: float,
        statuses: StatusMonitor | None = None,
        queue_size: int = 10,
    ) -> None:
        """Connect to the inputs; see `Synchronizer` for slop, wait and queue size.

        Raises:
            ValueError: a setting is out of range.
        """
        super().__init__()
        self._clock = node.get_clock()
        self._core = Synchronizer(
            list(inputs), round(slop_s * 1e9), round(max_wait_s * 1e9), queue_size
        )
        # Runs only while a set waits.
        self._deadline = DeadlineTimer(node, self._on_timer)
        self.input_connections = [
            source.registerCallback(self._on_message, stream) for stream, source in inputs.items()
        ]
        if statuses is not None:
            for stream in inputs:
                self._core.set_alive(stream, statuses.alive(stream), 0)
            statuses.add_listener(self._on_status)

    def relax(self, lag_s: float, window_s: float) -> None:
        """Do with less where the machine runs late; see `Synchronizer.relax`."""
        self._core.relax(lag_s, window_s)

    def _on_message(self, message: Any, stream: str) -> None:
        stamp = stamp_ns(message.header.stamp)
        self._emit(self._core.add(stream, stamp, message, self._now_ns()))

    def _on_status(self, stream: str, status: StreamStatus) -> None:
        self._emit(self._core.set_alive(stream, status.alive, self._now_ns()))

    def _on_timer(self) -> None:
        self._emit(self._core.tick(self._now_ns()))

    def _now_ns(self) -> int:
        return self._clock.now().nanoseconds

    def _emit(self, sets: list[SynchronizedSet]) -> None:
        # The timer first: a callback may take long, or raise.
        self._deadline.set(self._core.deadline_ns)
        for made in sets:
            self.signalMessage(made)
