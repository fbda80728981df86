"""Faults of when frames come, whether they come, and whether they are new. Pixels stay sound."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from multismolvla.sensing.corruptions.fault import Delivery, Fault, parameter


@dataclass
class Drop(Fault):
    """Nothing comes: an unplugged camera."""

    name = "drop"

    def apply(self, delivery: Delivery) -> list[Delivery]:
        return []


@dataclass
class BurstLoss(Fault):
    """Now and then nothing comes for a while: a loose plug, a congested link."""

    name = "burst_loss"
    burst_s: float = parameter("s", 0.0, 60.0, (0.1, 0.2, 0.4, 0.8, 1.5), "mean duration of a gap")
    every_s: float = parameter("s", 0.01, 60.0, (2.0,), "mean time between two gaps")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._silent = True
        self._until_ns: int | None = None

    def apply(self, delivery: Delivery) -> list[Delivery]:
        if self._until_ns is None:
            self._until_ns = delivery.stamp_ns
        while delivery.stamp_ns >= self._until_ns:
            self._silent = not self._silent
            mean_s = self.burst_s if self._silent else self.every_s
            self._until_ns += 1 + round(self._rng.exponential(mean_s) * 1e9)
        return [] if self._silent else [delivery]


@dataclass
class LowRate(Fault):
    """Only some of the frames come, evenly spread: an overloaded camera or processor."""

    name = "low_rate"
    share: float = parameter(
        "of the frames", 0.0, 1.0, (1 / 2, 1 / 3, 1 / 5, 1 / 8, 1 / 15), "share that comes"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._frames = 0

    def apply(self, delivery: Delivery) -> list[Delivery]:
        # The tolerance keeps every third frame in spite of rounding.
        due = int(self._frames * self.share + 1e-9)
        self._frames += 1
        return [delivery] if int(self._frames * self.share + 1e-9) > due else []


@dataclass
class Frozen(Fault):
    """The same picture again and again, with new stamps: a hung driver."""

    name = "frozen"
    freeze_s: float = parameter(
        "s", 0.0, 3600.0, (0.2, 0.5, 1.0, 1.5, 2.0), "how long the picture stands still"
    )
    every_s: float = parameter(
        "s", 0.01, 3600.0, (2.0,), "time from one freeze to the next; up to freeze_s: for good"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._held: Delivery | None = None
        self._start_ns = 0

    def apply(self, delivery: Delivery) -> list[Delivery]:
        since_s = (delivery.stamp_ns - self._start_ns) * 1e-9
        for_good = self.freeze_s >= self.every_s
        if self._held is None or (since_s >= self.every_s and not for_good):
            self._held, self._start_ns = delivery, delivery.stamp_ns
            return [delivery]
        if for_good or since_s < self.freeze_s:
            return [replace(delivery, frame=self._held.frame)]
        return [delivery]


@dataclass
class Late(Fault):
    """Old pictures with new stamps: a camera with a queue whose driver stamps what it takes out.

    Nothing outside of the pictures shows it, unlike a `Delay`. The queue fills while pictures come
    at half speed.
    """

    name = "late"
    delay_s: float = parameter(
        "s", 0.0, 10.0, (0.1, 0.2, 0.4, 0.7, 1.0), "how old the pictures are"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._past: deque[Delivery] = deque()
        self._start_ns: int | None = None

    def apply(self, delivery: Delivery) -> list[Delivery]:
        if self._start_ns is None:
            self._start_ns = delivery.stamp_ns
        self._past.append(delivery)
        age_ns = min(round(self.delay_s * 1e9), (delivery.stamp_ns - self._start_ns) // 2)
        while len(self._past) > 1 and self._past[1].stamp_ns <= delivery.stamp_ns - age_ns:
            self._past.popleft()
        return [replace(delivery, frame=self._past[0].frame)]


@dataclass
class Delay(Fault):
    """Frames come late, with the stamps of when they were taken: a slow link."""

    name = "delay"
    delay_s: float = parameter(
        "s", 0.0, 10.0, (0.05, 0.1, 0.2, 0.5, 1.0), "how much later they come"
    )

    def apply(self, delivery: Delivery) -> list[Delivery]:
        return [replace(delivery, arrive_ns=delivery.arrive_ns + round(self.delay_s * 1e9))]


@dataclass
class Jitter(Fault):
    """Frames come late by an amount that changes from frame to frame, in their order."""

    name = "jitter"
    spread_s: float = parameter(
        "s", 0.0, 10.0, (0.03, 0.06, 0.1, 0.2, 0.4), "latest that a frame may come"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._last_ns = 0

    def apply(self, delivery: Delivery) -> list[Delivery]:
        late_ns = round(self._rng.uniform(0.0, self.spread_s) * 1e9)
        self._last_ns = max(self._last_ns, delivery.arrive_ns + late_ns)
        return [replace(delivery, arrive_ns=self._last_ns)]
