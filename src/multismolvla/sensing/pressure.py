"""How long the machine keeps programs waiting for a processor, as the kernel measures it."""

from __future__ import annotations

from pathlib import Path

# Pressure stall information, https://docs.kernel.org/accounting/psi.html: for how long, in all, at
# least one thread that wanted to run had to wait for a processor.
PRESSURE_FILE = Path("/proc/pressure/cpu")


class CpuPressure:
    """The time in which some thread of the machine waited for a processor, since a mark.

    What a camera's driver was kept waiting is no more than that, whatever else was.

    Args:
        file: of the kernel; where there is none, nothing is known.
    """

    def __init__(self, file: Path = PRESSURE_FILE) -> None:
        self._file = file
        self._marked_us = self._read()

    def mark(self) -> None:
        """Count from now."""
        self._marked_us = self._read()

    def waited_s(self) -> float:
        """Seconds since the mark in which some thread waited; 0.0 where it is not known."""
        now_us = self._read()
        if self._marked_us is None or now_us is None:
            return 0.0
        return max(0, now_us - self._marked_us) * 1e-6

    def _read(self) -> int | None:
        """The time waited since the machine started, microseconds."""
        try:
            line = self._file.read_text().partition("\n")[0]
            return int(line.rpartition("total=")[2])
        except (OSError, ValueError):
            return None
