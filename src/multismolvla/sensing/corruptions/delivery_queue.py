"""The way from cameras to sensor nodes: frames that are damaged, lost, or come later."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import replace

from multismolvla.sensing.corruptions.fault import Delivery
from multismolvla.sensing.corruptions.fault_schedule import FaultSchedule


class DeliveryQueue:
    """Takes frames of all streams in, gives out what becomes of them in the order of arrival.

    Args:
        schedules: the faults by stream; looked at with every frame, so they may be exchanged.
    """

    def __init__(self, schedules: Mapping[str, FaultSchedule]) -> None:
        self._schedules = schedules
        # By time of arrival, then in the order of sending.
        self._on_their_way: list[tuple[int, int, str, Delivery]] = []
        self._sent = 0

    @property
    def next_ns(self) -> int | None:
        """When the next frame arrives, None while none is on its way."""
        return self._on_their_way[0][0] if self._on_their_way else None

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
            heapq.heappush(self._on_their_way, (sent.arrive_ns, self._sent, stream, sent))

    def _hurry(self, stream: str, arrive_ns: int) -> None:
        """What a link still holds when it is sound again comes at once, before what comes next."""
        for place, (at_ns, number, name, sent) in enumerate(self._on_their_way):
            if name == stream and at_ns > arrive_ns:
                sent = replace(sent, arrive_ns=arrive_ns)
                self._on_their_way[place] = (arrive_ns, number, stream, sent)
        heapq.heapify(self._on_their_way)

    def due(self, now_ns: int) -> Iterator[tuple[str, Delivery]]:
        """Take out what has arrived by now, that sent meanwhile included."""
        while self._on_their_way and self._on_their_way[0][0] <= now_ns:
            _, _, stream, delivery = heapq.heappop(self._on_their_way)
            yield stream, delivery
