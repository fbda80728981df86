"""Can a frame's stamp be believed?"""

from __future__ import annotations

from collections import deque

from multismolvla.modalities.thresholds import Thresholds

# Statistics of stamps are about the frames of this time. No camera sends more than the deque holds.
WINDOW_NS = 1_000_000_000
WINDOW_FRAMES = 256


class StampCheck:
    """Compares each stamp with the clock and with the stamp before it.

    Attributes:
        bad_in_a_row: bad stamps since the last good one.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        self._max_future_ns = round(thresholds.max_future_s * 1e9)
        self._max_age_ns = round(thresholds.max_age_s * 1e9)
        self._last_ns: int | None = None
        self.bad_in_a_row = 0
        # (arrival, delay, bad) of the last frames.
        self._window: deque[tuple[int, int, bool]] = deque(maxlen=WINDOW_FRAMES)

    def check(self, stamp_ns: int, now_ns: int) -> str:
        """Return what is wrong with the stamp, or an empty string.

        A stamp that runs backwards is bad once; the stamps after it are compared with it, so that a
        camera whose clock was set back a little is believed again from the next frame on. A stamp
        that does not fit the clock is forgotten.
        """
        fault = self._against_clock(stamp_ns, now_ns)
        if not fault:
            if self._last_ns is not None and stamp_ns <= self._last_ns:
                fault = "the stamp is not later than the one before"
            self._last_ns = stamp_ns
        self.bad_in_a_row = self.bad_in_a_row + 1 if fault else 0
        self._window.append((now_ns, now_ns - stamp_ns, bool(fault)))
        return fault

    def recent(self, now_ns: int) -> tuple[tuple[float, float] | None, int]:
        """Return least and greatest delay of the last second's stamps, and how many are bad.

        The delays are in seconds, and None where there was no frame.
        """
        since_ns = now_ns - WINDOW_NS
        recent = [(delay, bad) for arrival, delay, bad in self._window if arrival > since_ns]
        if not recent:
            return None, 0
        delays = [delay for delay, _ in recent]
        return (min(delays) / 1e9, max(delays) / 1e9), sum(bad for _, bad in recent)

    def forget(self) -> None:
        """The clock was set back: stamps from before it cannot be compared."""
        self._last_ns = None
        self._window.clear()

    def _against_clock(self, stamp_ns: int, now_ns: int) -> str:
        if stamp_ns <= 0:
            return "the stamp is zero" if stamp_ns == 0 else "the stamp is negative"
        # Simulated time reads zero until the first message on /clock: nothing to compare with.
        if now_ns > 0:
            ahead_ns = stamp_ns - now_ns
            if ahead_ns > self._max_future_ns:
                return f"the stamp is {ahead_ns / 1e9:.2f} s in the future"
            if -ahead_ns > self._max_age_ns:
                return f"the stamp is {-ahead_ns / 1e9:.2f} s old"
        return ""
