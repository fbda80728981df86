"""A loop that keeps to absolute deadlines whatever the executor is busy with."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from multismolvla.sensing.lag import LagMeter


class PeriodicThread:
    """Calls `tick` every `period_s` on the machine's monotonic clock.

    A timer in an executor waits for the callbacks before it; this waits for none. A deadline that
    was missed is skipped, never made up for by a burst. An exception in `tick` ends the loop and is
    handed to `on_error`: a control loop must not limp on in silence.

    Attributes:
        lag: how late its ticks begin.
    """

    def __init__(
        self, period_s: float, tick: Callable[[], None], on_error: Callable[[Exception], None]
    ) -> None:
        self._period_s = period_s
        self._tick = tick
        self._on_error = on_error
        self._stopping = threading.Event()
        # Starts of the ticks of the last second, for the measured rate.
        self._starts: deque[float] = deque(maxlen=max(2, round(1.0 / period_s)))
        self.lag = LagMeter()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the loop; returns when the tick in progress is over."""
        self._stopping.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    @property
    def rate_hz(self) -> float:
        """Ticks per second over the last second; 0.0 before there are two."""
        starts = list(self._starts)
        if len(starts) < 2:
            return 0.0
        return (len(starts) - 1) / (starts[-1] - starts[0])

    def _run(self) -> None:
        deadline = time.monotonic()
        while not self._stopping.is_set():
            start = time.monotonic()
            self._starts.append(start)
            self.lag.note(time.monotonic_ns(), round((start - deadline) * 1e9))
            try:
                self._tick()
            except Exception as error:  # Whatever it is, the owner decides.
                if not self._stopping.is_set():
                    self._on_error(error)
                return
            missed = max(0.0, time.monotonic() - deadline) // self._period_s
            deadline += (1 + missed) * self._period_s
            self._stopping.wait(max(0.0, deadline - time.monotonic()))
