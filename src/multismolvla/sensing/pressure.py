"""Whether the machine's processors are contended now, as the kernel measures it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

# Pressure stall information, https://docs.kernel.org/accounting/psi.html: how long, in all, at
# least one thread that wanted to run had to wait for a processor.
PRESSURE_FILE = Path("/proc/pressure/cpu")


# From this share on the processors are contended: with one of two kept busy by another program it
# is TODO, with both nearly 1.
CONTENDED = 0.75


class CpuPressure:
    """The share of the time in which some thread of the machine waited for a processor.

    Args:
        file: of the kernel; where there is none, nothing is known.
        clock_ns: monotonic, nanoseconds.
    """

    def __init__(
        self, file: Path = PRESSURE_FILE, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._file, self._clock_ns = file, clock_ns
        self._before = self._last = self._read()

    def tick(self) -> None:
        """A beat: what is asked for later is the share since the beat before this one."""
        self._before, self._last = self._last, self._read()

    def share(self) -> float:
        """Share in [0, 1] since the last beat but one; 0.0 where it is not known."""
        then, now = self._before, self._read()
        if then is None or now is None or now[0] <= then[0]:
            return 0.0
        return min(1.0, max(0.0, (now[1] - then[1]) * 1e3 / (now[0] - then[0])))

    @property
    def contended(self) -> bool:
        """Whether threads wait for a processor nearly all the time."""
        return self.share() >= CONTENDED

    def _read(self) -> tuple[int, int] | None:
        """The time, nanoseconds, and the time waited since the machine started, microseconds."""
        try:
            line = self._file.read_text().partition("\n")[0]
            return self._clock_ns(), int(line.rpartition("total=")[2])
        except (OSError, ValueError):
            return None
