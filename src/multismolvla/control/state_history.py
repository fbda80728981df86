"""Joint positions of the last second: the state at the instant of the images can be taken."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque

import numpy as np


class StateHistory:
    """Positions (J,) by stamp. Written by one thread, read by others.

    Args:
        span_ns: how much is kept, nanoseconds.
    """

    def __init__(self, span_ns: int = 1_000_000_000) -> None:
        self._span_ns = span_ns
        self._lock = threading.Lock()
        self._samples: deque[tuple[int, np.ndarray]] = deque()

    def add(self, stamp_ns: int, positions: np.ndarray) -> None:
        """Take in a sample; one that is not newer than the last replaces what came after it."""
        with self._lock:
            while self._samples and self._samples[-1][0] >= stamp_ns:
                self._samples.pop()
            self._samples.append((stamp_ns, positions))
            while self._samples[0][0] < stamp_ns - self._span_ns:
                self._samples.popleft()

    def latest(self) -> np.ndarray | None:
        """(J,) newest positions, None without any."""
        with self._lock:
            return self._samples[-1][1] if self._samples else None

    def age_s(self, now_ns: int) -> float | None:
        """Age of the newest sample, None without one."""
        with self._lock:
            return (now_ns - self._samples[-1][0]) * 1e-9 if self._samples else None

    def at(self, stamp_ns: int, slack_ns: int | None = None) -> np.ndarray | None:
        """Positions at an instant: linear between samples, the nearest sample outside of them.

        Args:
            slack_ns: how far outside there is still an answer; None for however far.
        """
        with self._lock:
            samples = list(self._samples)
        if not samples:
            return None
        outside_ns = max(samples[0][0] - stamp_ns, stamp_ns - samples[-1][0])
        if slack_ns is not None and outside_ns > slack_ns:
            return None
        after = bisect_right([stamp for stamp, _ in samples], stamp_ns)
        if after == 0:
            return samples[0][1]
        if after == len(samples):
            return samples[-1][1]
        (t0, p0), (t1, p1) = samples[after - 1], samples[after]
        return p0 + (p1 - p0) * ((stamp_ns - t0) / (t1 - t0))

    def clear(self) -> None:
        """Forget every sample: the clock was set back."""
        with self._lock:
            self._samples.clear()
