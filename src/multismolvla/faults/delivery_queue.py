"""Faults on a schedule, and the messages that pass through them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from multismolvla.faults.fault import Delivery, TimedFault
from multismolvla.faults.message_faults import Drop

# The faults of one stream over time, one after the other or several at once.


class FaultSchedule:
    """Applies to every frame the faults that last at its time, in the order of the list."""

    def __init__(self, faults: Sequence[TimedFault] = ()) -> None:
        self.faults = tuple(faults)

    def active(self, now_ns: int) -> bool:
        """Whether any fault is there at this instant."""
        return any(timed.active(now_ns) for timed in self.faults)

    def silent(self, now_ns: int) -> bool:
        """Whether nothing comes at this instant."""
        return any(isinstance(t.fault, Drop) and t.active(now_ns) for t in self.faults)

    def apply(self, delivery: Delivery, now_ns: int | None = None) -> list[Delivery]:
        """Return the deliveries that a frame turns into.

        Args:
            now_ns: time that decides what is active; by default the frame's stamp, as it is before
                any fault of stamps.
        """
        now_ns = delivery.stamp_ns if now_ns is None else now_ns
        deliveries = [delivery]
        for timed in self.faults:
            if timed.active(now_ns):
                deliveries = [made for one in deliveries for made in timed.fault.apply(one)]
        return deliveries


# The path from cameras to sensor nodes: frames that are damaged, lost, or late.


class DeliveryQueue:
    """Takes frames of all streams in, gives the results out in order of arrival.

    Args:
        schedules: the faults by stream; looked at with every frame, so they may be exchanged.
    """

    def __init__(self, schedules: Mapping[str, FaultSchedule]) -> None:
        self._schedules = schedules
        # By time of arrival, then in the order of sending.
        self._pending: list[tuple[int, int, str, Delivery]] = []
        self._sent = 0

    @property
    def next_ns(self) -> int | None:
        """When the next frame arrives, None while none is on its way."""
        return self._pending[0][0] if self._pending else None

    def send(self, stream: str, delivery: Delivery, now_ns: int | None = None) -> None:
        """Take a frame in; `now_ns` as in `FaultSchedule.apply`."""
        schedule = self._schedules.get(stream)
        made = [delivery]
        if schedule is not None:
            now_ns = delivery.stamp_ns if now_ns is None else now_ns
            made = schedule.apply(delivery, now_ns)
            if not schedule.active(now_ns):
                self._hurry(stream, delivery.arrive_ns)
        for sent in made:
            self._sent += 1
            heapq.heappush(self._pending, (sent.arrive_ns, self._sent, stream, sent))

    def _hurry(self, stream: str, arrive_ns: int) -> None:
        """What a link still holds when it is sound again comes at once, before what comes next."""
        for place, (at_ns, number, name, sent) in enumerate(self._pending):
            if name == stream and at_ns > arrive_ns:
                sent = replace(sent, arrive_ns=arrive_ns)
                self._pending[place] = (arrive_ns, number, stream, sent)
        heapq.heapify(self._pending)

    def due(self, now_ns: int) -> Iterator[tuple[str, Delivery]]:
        """Take out what has arrived by now, that sent meanwhile included."""
        while self._pending and self._pending[0][0] <= now_ns:
            _, _, stream, delivery = heapq.heappop(self._pending)
            yield stream, delivery
