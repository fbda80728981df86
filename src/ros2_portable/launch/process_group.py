"""Starting a process in a session of its own, and what is left of that session."""

import asyncio
import ctypes
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """In a child, before it runs its program: ask for SIGTERM should the parent be killed."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def group_lives(group: int) -> bool:
    """Return whether a process group has members other than zombies."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member_of = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # It ended meanwhile.
        if int(member_of) == group and state != "Z":
            return True
    return False


class Lines(asyncio.Protocol):
    """Passes on what arrives at a pipe, line by line; `closed` is done at its end."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line, self._rest = on_line, b""
        self.closed = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace").rstrip("\r"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest:
            self.data_received(b"\n")
        if not self.closed.done():
            self.closed.set_result(None)
