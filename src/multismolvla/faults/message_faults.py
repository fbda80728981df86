"""Faults of messages: of delivery, stamps and content."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from dataclasses import dataclass, replace

from multismolvla.faults.fault import Delivery, Fault, parameter
from multismolvla.modalities.conversion import resize
from multismolvla.modalities.registry import find_modality

# Messages that are not what their reader expects.


@dataclass
class WrongResolution(Fault):
    """Frames of another size: a driver that started in another mode."""

    name = "wrong_resolution"
    damages_joint_states = False
    scale: float = parameter(
        "of the size", 0.01, 4.0, (0.75, 0.5, 0.33, 0.2, 0.1), "of height and width"
    )

    def apply(self, delivery: Delivery) -> list[Delivery]:
        modality = find_modality(self.kind)
        height, width = (max(1, round(n * self.scale)) for n in delivery.frame.shape[:2])
        return [replace(delivery, frame=resize(modality, delivery.frame, height, width))]


@dataclass
class WrongEncoding(Fault):
    """Messages with an encoding that no camera of this kind sends."""

    name = "wrong_encoding"
    damages_joint_states = False

    def apply(self, delivery: Delivery) -> list[Delivery]:
        wrong = "32FC1" if find_modality(self.kind).channels == 3 else "rgb8"
        return [replace(delivery, encoding=wrong)]


@dataclass
class TruncatedData(Fault):
    """Messages end before their image is complete: a link that loses packets."""

    name = "truncated_data"
    damages_joint_states = False
    share: float = parameter(
        "of the bytes", 0.0, 0.999, (0.95, 0.75, 0.5, 0.25, 0.0), "part that arrives"
    )

    def apply(self, delivery: Delivery) -> list[Delivery]:
        return [replace(delivery, share=self.share)]


# Faults of when frames come, whether they come, and whether they are new. Pixels stay sound.


@dataclass
class Drop(Fault):
    """No frames: an unplugged camera."""

    name = "drop"

    def apply(self, delivery: Delivery) -> list[Delivery]:
        return []


@dataclass
class BurstLoss(Fault):
    """Random gaps without frames: a loose plug, a congested link."""

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
    """Only some of the frames arrive, evenly spread: an overloaded camera or processor."""

    name = "low_rate"
    share: float = parameter(
        "of the frames", 0.0, 1.0, (1 / 2, 1 / 3, 1 / 5, 1 / 8, 1 / 15), "share that arrives"
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
    """The same frame repeated with new stamps: a hung driver."""

    name = "frozen"
    freeze_s: float = parameter("s", 0.0, 3600.0, (0.2, 0.5, 1.0, 1.5, 2.0), "duration of a freeze")
    every_s: float = parameter(
        "s", 0.01, 3600.0, (2.0,), "time between freezes; up to freeze_s: permanent"
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
    """Old frames with new stamps: a camera with a queue whose driver stamps on reading.

    Unlike a `Delay` it shows in the frames only. The queue fills while frames come
    at half speed.
    """

    name = "late"
    delay_s: float = parameter("s", 0.0, 10.0, (0.1, 0.2, 0.4, 0.7, 1.0), "age of the frames")

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
    """Frames arrive late, with correct stamps: a slow link."""

    name = "delay"
    delay_s: float = parameter("s", 0.0, 10.0, (0.05, 0.1, 0.2, 0.5, 1.0), "delay")

    def apply(self, delivery: Delivery) -> list[Delivery]:
        return [replace(delivery, arrive_ns=delivery.arrive_ns + round(self.delay_s * 1e9))]


@dataclass
class Jitter(Fault):
    """Frames arrive late by a random amount, in order."""

    name = "jitter"
    spread_s: float = parameter("s", 0.0, 10.0, (0.03, 0.06, 0.1, 0.2, 0.4), "largest delay")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._last_ns = 0

    def apply(self, delivery: Delivery) -> list[Delivery]:
        late_ns = round(self._rng.uniform(0.0, self.spread_s) * 1e9)
        self._last_ns = max(self._last_ns, delivery.arrive_ns + late_ns)
        return [replace(delivery, arrive_ns=self._last_ns)]


# Stamps that lie. Frames and the times at which they come stay sound.


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
        "s", -1e6, 1e6, (0.01, 0.04, 0.09, 0.5, 5.0), "offset of the stamps"
    )

    def _offset_s(self, since_s: float) -> float:
        return self.offset_s


@dataclass
class StampDrift(WrongClock):
    """The clock runs too fast or too slowly."""

    name = "stamp_drift"
    rate: float = parameter("s/s", -0.9, 10.0, (0.001, 0.01, 0.05, 0.2, 1.0), "gain per second")

    def _offset_s(self, since_s: float) -> float:
        return self.rate * since_s


@dataclass
class StampJump(WrongClock):
    """The clock is set, and set back again after the same time: two time servers that disagree."""

    name = "stamp_jump"
    jump_s: float = parameter("s", -1e6, 1e6, (-0.02, -0.05, -0.2, -2.0, -60.0), "size of a jump")
    every_s: float = parameter("s", 0.01, 3600.0, (1.0,), "time between two jumps")

    def _offset_s(self, since_s: float) -> float:
        return self.jump_s if int(since_s / self.every_s + 1e-9) % 2 == 0 else 0.0


@dataclass
class DuplicateStamp(Fault):
    """Some frames have the stamp of the previous one."""

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
    """Some frames arrive after the one that was taken after them."""

    name = "reorder"
    share: float = parameter(
        "of the frames", 0.0, 1.0, (0.1, 0.25, 0.5, 0.75, 1.0), "frames that swap places"
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
