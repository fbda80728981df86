"""The faults of one stream over time, one after the other or several at once."""

from __future__ import annotations

from collections.abc import Sequence

from multismolvla.sensing.corruptions.delivery_faults import Drop
from multismolvla.sensing.corruptions.fault import Delivery, TimedFault


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
        """Return what becomes of a frame.

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
