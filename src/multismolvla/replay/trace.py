"""What one pass over a bag came to, tick by tick, however it was made: replayed or recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from multismolvla.faults.record import FaultRecord

# Setpoints that lie further apart belong to two stretches with a hold between them.
GAP_NS = 250_000_000


@dataclass(frozen=True)
class Plan:
    """What was queued right after a merge: `targets` (K, J) belong to `times_ns` (K,)."""

    now_ns: int
    times_ns: np.ndarray
    targets: np.ndarray


@dataclass
class Trace:
    """One pass; T control ticks, S streams.

    Attributes:
        name: of the pass.
        joints: names of the J joints.
        streams: names of the streams.
        ticks_ns: (T,) time of each control period.
        targets: (T, J) radians, what was commanded; NaN where nothing was.
        available: (T, S) bool, whether the stream was in use.
        acting_from_ns: time of the policy's first command; None for never.
        plans: what was queued after each merge.
        skews_s: of each synchronised set, the greatest distance of a stamp from the reference's.
        frames: stream -> frames that came to its sensor node.
        latencies_s: of each inference.
        queue_s: (T,) seconds until the queue is empty.
        starved_ticks: ticks in which the queue had run dry.
        held_ticks: ticks with a task in which nothing might be executed, of `task_ticks`.
        error: the last error of the policy, or "".
        record: detection, recovery and false alarms.
        wall_s, processor_s: how long the pass took; no part of what is compared.
    """

    name: str
    joints: tuple[str, ...]
    streams: tuple[str, ...]
    ticks_ns: np.ndarray
    targets: np.ndarray
    available: np.ndarray
    acting_from_ns: int | None = None
    plans: list[Plan] = field(default_factory=list)
    skews_s: list[float] = field(default_factory=list)
    frames: Mapping[str, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    queue_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    starved_ticks: int = 0
    held_ticks: int = 0
    task_ticks: int = 0
    error: str = ""
    record: FaultRecord | None = None
    wall_s: float = 0.0
    processor_s: float = 0.0

    @property
    def lasts_s(self) -> float:
        """From the first tick to the last."""
        return float(self.ticks_ns[-1] - self.ticks_ns[0]) * 1e-9 if len(self.ticks_ns) else 0.0

    @property
    def median_latency_s(self) -> float | None:
        """Of the inferences; None without any."""
        return float(np.median(self.latencies_s)) if self.latencies_s else None

    def setpoints(self) -> Setpoints:
        """What was commanded as a function of time."""
        known = np.isfinite(self.targets).all(axis=1)
        return Setpoints(self.ticks_ns[known], self.targets[known])


class Setpoints:
    """Targets (N, 6) at instants (N,), interpolated at any time.

    Args:
        times_ns: rising, not strictly.
    """

    def __init__(self, times_ns: np.ndarray, targets: np.ndarray) -> None:
        self.times_ns, self._targets = times_ns, targets

    def at(self, times_ns: np.ndarray) -> np.ndarray:
        """(K, J) targets at (K,) instants: linear in between, NaN in gaps and beyond the ends."""
        known = self.times_ns
        if not len(known):
            return np.full((len(times_ns), 6), np.nan)
        after = np.clip(np.searchsorted(known, times_ns, side="left"), 0, len(known) - 1)
        exact = known[after] == times_ns
        before = np.where(exact, after, np.maximum(after - 1, 0))
        span_ns = known[after] - known[before]
        inside = exact | ((times_ns > known[0]) & (times_ns < known[-1]) & (span_ns <= GAP_NS))
        share = (times_ns - known[before]) / np.maximum(span_ns, 1)
        values = self._targets[before] + share[:, None] * (
            self._targets[after] - self._targets[before]
        )
        return np.where(inside[:, None], values, np.nan)
