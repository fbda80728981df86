"""How late a process runs: what it owes to the machine, and no camera to blame for it."""

from __future__ import annotations

import threading
from collections import deque

# A step of the machine's clock larger than this, between two messages, is no waiting.
CLOCK_STEP_NS = 5_000_000


class LagMeter:
    """The worst lag of the last `window_s` seconds. Any thread may write and read.

    Args:
        window_s: how long a lag counts.
    """

    def __init__(self, window_s: float = 1.0) -> None:
        self._window_ns = round(window_s * 1e9)
        self._lock = threading.Lock()
        # Lags that only fall, oldest first: an older one that is smaller can never be the worst.
        self._falling: deque[tuple[int, int]] = deque()

    def note(self, now_ns: int, lag_ns: int) -> None:
        """Something that was due `lag_ns` ago runs now; times are monotonic, nanoseconds."""
        with self._lock:
            while self._falling and self._falling[-1][1] <= lag_ns:
                self._falling.pop()
            self._falling.append((now_ns, lag_ns))

    def worst_s(self, now_ns: int) -> float:
        """The worst lag of the window that ends now, seconds; 0.0 without any."""
        with self._lock:
            while self._falling and self._falling[0][0] < now_ns - self._window_ns:
                self._falling.popleft()
            return max(0, self._falling[0][1]) * 1e-9 if self._falling else 0.0


class Waiting:
    """How long messages waited in this process's queues before their callback ran.

    A message's time of arrival is on the machine's clock, which may be set meanwhile: a wait that
    spans such a step is unknown and counts as none.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None

    def of(self, arrival_ns: int, system_ns: int, monotonic_ns: int) -> int:
        """Nanoseconds since a message arrived; 0 where that is not known.

        Args:
            arrival_ns: on the machine's clock; 0 where the middleware did not say.
            system_ns, monotonic_ns: now, on the machine's clock and on the monotonic one.
        """
        offset_ns = system_ns - monotonic_ns
        before_ns, self._offset_ns = self._offset_ns, offset_ns
        stepped = before_ns is not None and abs(offset_ns - before_ns) > CLOCK_STEP_NS
        return 0 if stepped or not arrival_ns else max(0, system_ns - arrival_ns)
