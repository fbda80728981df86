"""Can a frame's stamp be believed?"""

from __future__ import annotations

from multismolvla.sensing.thresholds import Thresholds


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
        return fault

    def forget(self) -> None:
        """The clock was set back: stamps from before it cannot be compared."""
        self._last_ns = None

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
