"""Real-time priority for the threads that must answer in time on a busy computer."""

from __future__ import annotations

import os

# Above everything that is not real-time, below the kernel's own threads (50).
PRIORITY = 20


def raise_priority() -> bool:
    """Give the calling thread real-time round-robin scheduling; return whether it was granted.

    It needs root, CAP_SYS_NICE or a limit `rtprio` in /etc/security/limits.conf. Without, the
    thread runs like any other and is late when the processors are busy.
    """
    try:
        # On Linux, process 0 means the calling thread.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    except (OSError, AttributeError):
        return False
    return True
