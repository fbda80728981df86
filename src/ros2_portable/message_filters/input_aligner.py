"""Messages of several inputs in the order of their stamps."""

import heapq
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rclpy.duration import Duration

from .simple_filter import SimpleFilter
from .stamps import header_time

_NEVER_NS = 2**63 - 1


@dataclass
class QueueStatus:
    active: bool
    queue_size: int
    msgs_processed: int
    msgs_dropped: int


@dataclass
class _Input:
    """The waiting messages of one input, oldest stamp first, and when the next is due."""

    output: SimpleFilter = field(default_factory=SimpleFilter)
    events: list[tuple[int, int, Any]] = field(default_factory=list)
    due_ns: int = _NEVER_NS
    period_ns: int = 0
    active: bool = False
    received: int = 0
    processed: int = 0
    dropped: int = 0

    def first_ns(self) -> int:
        """Return the stamp of the next message, or the expected one while the input is active."""
        if self.events:
            self.active = True
            self.due_ns = self.events[0][0] + self.period_ns
            return self.events[0][0]
        return self.due_ns if self.active else _NEVER_NS


class InputAligner(SimpleFilter):
    """Dispatches messages of all inputs in time order; each input has its own callbacks.

    A message waits for the slower inputs. An input that stays silent for `timeout` after its next
    message was due, measured by the stamps of the others, is not waited for any more.
    """

    def __init__(
        self,
        timeout: Duration,
        *inputs: SimpleFilter,
        filters: Sequence[SimpleFilter] = (),
    ) -> None:
        super().__init__()
        self.timeout = timeout
        self.name = ""
        # Re-entrant: a callback may feed one of the inputs.
        self.lock = threading.RLock()
        self.event_queues: list[_Input] = []
        self.input_connections: list[tuple[SimpleFilter, int]] = []
        self._newest_in_ns = self._last_out_ns = 0
        if inputs or filters:
            self.connectInput(*inputs, filters=filters)

    def connectInput(self, *inputs: SimpleFilter, filters: Sequence[SimpleFilter] = ()) -> None:
        """Replace all inputs and forget the callbacks of the old ones."""
        with self.lock:
            self.disconnectAll()
            sources = [*inputs, *filters]
            self.event_queues = [_Input() for _ in sources]
            self.input_connections = [
                (source, source.registerCallback(self.add, index))
                for index, source in enumerate(sources)
            ]

    def disconnectAll(self) -> None:
        for source, connection in self.input_connections:
            source.unregisterCallback(connection)
        self.input_connections = []

    def registerCallback(self, index: int, callback: Any, *args: Any) -> int:
        return self.event_queues[index].output.registerCallback(callback, *args)

    def setName(self, name: str) -> None:
        self.name = name

    def getName(self) -> str:
        return self.name

    def setInputPeriod(self, index: int, period: Duration) -> None:
        self.event_queues[index].period_ns = period.nanoseconds

    def getQueueStatus(self, index: int) -> QueueStatus:
        queue = self.event_queues[index]
        return QueueStatus(queue.active, len(queue.events), queue.processed, queue.dropped)

    def setupDispatchTimer(self, node: Any, update_rate: Duration) -> None:
        """Dispatch every `update_rate` (a duration, in spite of its name)."""
        self.dispatch_timer = node.create_timer(
            update_rate.nanoseconds / 1e9, self.dispatchMessages
        )

    def add(self, msg: Any, queue_index: int) -> None:
        stamp_ns = header_time(msg).nanoseconds
        with self.lock:
            queue = self.event_queues[queue_index]
            if stamp_ns < self._last_out_ns:
                queue.dropped += 1
                return
            self._newest_in_ns = max(self._newest_in_ns, stamp_ns)
            queue.received += 1  # Breaks ties between equal stamps.
            heapq.heappush(queue.events, (stamp_ns, queue.received, msg))

    def dispatchMessages(self) -> None:
        """Call back with every message that no input can precede any more."""
        with self.lock:
            while any(queue.events for queue in self.event_queues):
                queue = min(self.event_queues, key=_Input.first_ns)
                if queue.events:
                    self._last_out_ns, _, msg = heapq.heappop(queue.events)
                    queue.processed += 1
                    queue.output.signalMessage(msg)
                elif self._newest_in_ns - queue.first_ns() >= self.timeout.nanoseconds:
                    queue.active = False
                else:
                    return
