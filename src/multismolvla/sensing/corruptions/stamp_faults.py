"""Stamps that lie. Pictures and the times at which they come stay sound."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

from multismolvla.sensing.corruptions.fault import Delivery, Fault, parameter


class WrongClock(Fault):
    """The camera's clock differs from that of the robot by an amount that may change."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._first_ns: int | None = None

    def apply(self, delivery: Delivery) -> list[Delivery]:
        if self._first_ns is None:
            self._first_ns = delivery.stamp_ns
        offset_s = self._offset_s((delivery.stamp_ns - self._first_ns) * 1e-9)
        return [replace(delivery, stamp_ns=delivery.stamp_ns + round(offset_s * 1e9))]

    @abstractmethod
    def _offset_s(self, since_s: float) -> float:
        """How far the clock is ahead, `since_s` seconds after the fault began."""


@dataclass
class StampOffset(WrongClock):
    """The clock is ahead, or behind, by the same amount all the time."""

    name = "stamp_offset"
    offset_s: float = parameter(
        "s", -1e6, 1e6, (0.01, 0.04, 0.09, 0.5, 5.0), "how far stamps are ahead"
    )

    def _offset_s(self, since_s: float) -> float:
        return self.offset_s


@dataclass
class StampDrift(WrongClock):
    """The clock runs too fast or too slowly."""

    name = "stamp_drift"
    rate: float = parameter(
        "s/s", -0.9, 10.0, (0.001, 0.01, 0.05, 0.2, 1.0), "what it gains in a second"
    )

    def _offset_s(self, since_s: float) -> float:
        return self.rate * since_s


@dataclass
class StampJump(WrongClock):
    """The clock is set, and set back again after the same time: two servers of time at odds."""

    name = "stamp_jump"
    jump_s: float = parameter(
        "s", -1e6, 1e6, (-0.02, -0.05, -0.2, -2.0, -60.0), "how far it is set"
    )
    every_s: float = parameter("s", 0.01, 3600.0, (1.0,), "time between two jumps")

    def _offset_s(self, since_s: float) -> float:
        return self.jump_s if int(since_s / self.every_s + 1e-9) % 2 == 0 else 0.0


@dataclass
class DuplicateStamp(Fault):
    """Some frames bear the stamp of the one before."""

    name = "duplicate_stamp"
    share: float = parameter(
        "of the frames", 0.0, 1.0, (0.1, 0.25, 0.5, 0.75, 1.0), "frames with an old stamp"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._last_ns: int | None = None

    def apply(self, delivery: Delivery) -> list[Delivery]:
        if self._last_ns is not None and self._rng.random() < self.share:
            return [replace(delivery, stamp_ns=self._last_ns)]
        self._last_ns = delivery.stamp_ns
        return [delivery]


@dataclass
class Reorder(Fault):
    """Some frames come right after the one that was taken after them."""

    name = "reorder"
    share: float = parameter(
        "of the frames", 0.0, 1.0, (0.1, 0.25, 0.5, 0.75, 1.0), "frames that change places"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._held: Delivery | None = None

    def apply(self, delivery: Delivery) -> list[Delivery]:
        if self._held is not None:
            held, self._held = self._held, None
            return [delivery, replace(held, arrive_ns=delivery.arrive_ns)]
        if self._rng.random() < self.share:
            self._held = delivery
            return []
        return [delivery]
