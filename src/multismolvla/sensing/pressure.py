"""How long the machine keeps programs waiting for a processor, as the kernel measures it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path

# Pressure stall information, https://docs.kernel.org/accounting/psi.html: for how long, in all, at
# least one thread that wanted to run had to wait for a processor.
PRESSURE_FILE = Path("/proc/pressure/cpu")
# The frames of one instant come together; one reading serves them all.
FRESH_NS = 20_000_000


class PressureMeter:
    """Reads the kernel's counter, at most once per `FRESH_NS`.

    Args:
        file: of the kernel; where there is none, nothing is known.
        clock_ns: monotonic, nanoseconds.
    """

    def __init__(
        self, file: Path = PRESSURE_FILE, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._file, self._clock_ns = file, clock_ns
        self._read_ns, self._total_us = clock_ns(), self._read()

    def total_us(self) -> int | None:
        """Microseconds waited since the machine started; None where it is not known."""
        now_ns = self._clock_ns()
        if now_ns - self._read_ns >= FRESH_NS:
            self._read_ns, self._total_us = now_ns, self._read()
        return self._total_us

    def _read(self) -> int | None:
        try:
            with self._file.open() as file:
                return int(file.readline().rpartition("total=")[2])
        except (OSError, ValueError):
            return None


@functools.cache
def machine_pressure() -> PressureMeter:
    """The meter that everything in this process shares."""
    return PressureMeter()


class CpuPressure:
    """The time in which some thread of the machine waited for a processor, since a mark.

    What a camera's driver was kept waiting is no more than that, whatever else was.
    """

    def __init__(self, meter: PressureMeter | None = None) -> None:
        self._meter = meter or machine_pressure()
        self._marked_us = self._meter.total_us()

    def mark(self) -> None:
        """Count from now."""
        self._marked_us = self._meter.total_us()

    def waited_s(self) -> float:
        """Seconds since the mark in which some thread waited; 0.0 where it is not known."""
        now_us = self._meter.total_us()
        if self._marked_us is None or now_us is None:
            return 0.0
        return max(0, now_us - self._marked_us) * 1e-6
