"""Ends a process in which a call never comes back, so that it is started anew."""

from __future__ import annotations

import os
import sys
import threading

from multismolvla.nodes.misconfigured import SUPERVISED

CHECK_PERIOD_S = 0.5
LIMIT_S = 8.0


class Watchdog:
    """Guards the body of a `with` statement against hanging for ever.

    A process that is killed while it holds a lock in shared memory can block whoever publishes to
    it, without an error and without an end. No thread can be rescued from there; the process can
    be replaced. Does nothing unless the launch file supervises the process. Time is counted in
    checks, so that a process that was suspended as a whole is not blamed.

    Args:
        work: what hangs, for the message.
        end: called when it does; ends the process by default.
    """

    def __init__(self, work: str, end=lambda: os._exit(3)) -> None:
        self._work = work
        self._end = end
        self._busy = False
        self._checks = 0
        if SUPERVISED in os.environ:
            threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def __enter__(self) -> None:
        self._checks = 0
        self._busy = True

    def __exit__(self, *_) -> None:
        self._busy = False

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(CHECK_PERIOD_S):
            if self.check():
                return

    def check(self) -> bool:
        """Count one check; True if the limit is reached and the process was told to end."""
        self._checks += 1
        if not self._busy or self._checks * CHECK_PERIOD_S <= LIMIT_S:
            return False
        print(
            f"error: {self._work} has hung for {LIMIT_S:.0f} s; ending, to be started anew",
            file=sys.stderr,
            flush=True,
        )
        self._end()
        return True
