"""Sets of messages that belong together, by equal or by similar stamps."""

import itertools
import threading
from collections.abc import Sequence
from typing import Any

from rclpy.clock import ROSClock
from rclpy.duration import Duration

from .filters import SimpleFilter, message_time


class TimeSynchronizer(SimpleFilter):
    """Calls back with one message of every input as soon as all carry the same stamp.

    Keeps up to `queue_size` messages of each input, oldest stamp out first, and drops what is
    older than the last set.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        # Re-entrant: a callback may feed one of the inputs.
        self.lock = threading.RLock()
        self.connectInput(fs)

    def connectInput(self, fs: Sequence[SimpleFilter]) -> None:
        self.queues: list[dict[int, Any]] = [{} for _ in fs]
        self.input_connections = [
            f.registerCallback(self.add, queue, index)
            for index, (f, queue) in enumerate(zip(fs, self.queues, strict=True))
        ]

    def add(self, msg: Any, my_queue: dict[int, Any], my_queue_index: int | None = None) -> None:
        stamp = message_time(msg, False, "message_filters_exact")
        if stamp is None:
            return
        with self.lock:
            self._store(msg, my_queue, stamp.nanoseconds)
            common = set.intersection(*(set(queue) for queue in self.queues))
            if not common:
                return
            oldest = min(common)
            messages = [queue.pop(oldest) for queue in self.queues]
            for queue in self.queues:
                for late in [key for key in queue if key < oldest]:
                    del queue[late]
            self.signalMessage(*messages)

    def _store(self, msg: Any, queue: dict[int, Any], stamp_ns: int) -> None:
        queue[stamp_ns] = msg
        while len(queue) > self.queue_size:
            del queue[min(queue)]


class ApproximateTimeSynchronizer(TimeSynchronizer):
    """Calls back with one message of every input whose stamps span less than `slop` seconds.

    Each new message is put together with those nearest to it; each message is used once.
    `allow_headerless` stamps messages without header with the ROS time of their arrival;
    `sync_arrival_time` does so with all messages.
    """

    def __init__(
        self,
        fs: Sequence[SimpleFilter],
        queue_size: int,
        slop: float,
        allow_headerless: bool = False,
        sync_arrival_time: bool = False,
    ) -> None:
        self.slop = Duration(seconds=slop)
        self.allow_headerless = allow_headerless
        self.sync_arrival_time = sync_arrival_time
        super().__init__(fs, queue_size)

    def add(self, msg: Any, my_queue: dict[int, Any], my_queue_index: int | None = None) -> None:
        if self.sync_arrival_time:
            stamp = ROSClock().now()
        else:
            stamp = message_time(msg, self.allow_headerless, "message_filters_approx")
        if stamp is None:
            return
        new_ns, slop_ns = stamp.nanoseconds, self.slop.nanoseconds
        with self.lock:
            self._store(msg, my_queue, new_ns)
            if new_ns not in my_queue:
                return  # Older than all of a full queue.
            candidates = []
            for queue in self.queues:
                keys = [new_ns] if queue is my_queue else queue
                near = (key for key in keys if abs(key - new_ns) <= slop_ns)
                candidates.append(sorted(near, key=lambda key: abs(key - new_ns)))
            chosen = _nearest_set(candidates, slop_ns)
            if chosen is not None:
                pairs = zip(self.queues, chosen, strict=True)
                self.signalMessage(*[queue.pop(key) for queue, key in pairs])


def _nearest_set(candidates: list[list[int]], slop_ns: int) -> list[int] | None:
    """Return the first combination, in the order of itertools.product, spanning less than the slop.

    Deciding on one input after the other keeps this short for many inputs with long queues.
    """
    if not _fit(candidates, slop_ns):
        return None
    for index, stamps in enumerate(candidates):
        before, after = candidates[:index], candidates[index + 1 :]
        decided = ([*before, [stamp], *after] for stamp in stamps)
        candidates = next(each for each in decided if _fit(each, slop_ns))
    return [stamp for [stamp] in candidates]


def _fit(candidates: list[list[int]], slop_ns: int) -> bool:
    """Return whether a window shorter than the slop holds a stamp of every input."""
    return any(
        all(any(start <= stamp < start + slop_ns for stamp in stamps) for stamps in candidates)
        for start in itertools.chain(*candidates)
    )
