"""Priority for the threads that must answer in time on a busy computer; docs/performance.md."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os

# Above everything that is not real-time, below the kernel's own threads (50).
PRIORITY = 20
# Of the other threads of such a process. The interpreter is shared: one of them that is kept from
# the processor while it holds the interpreter keeps the control thread waiting, too.
NICENESS = -5
# sys/mman.h: pages that are there now and those to come, locked when they are first touched, so
# that what a process has mapped and never touches takes no memory.
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def prefer_process() -> None:
    """Prefer this process to others, where that is allowed; call before it makes threads."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)


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


def lock_memory() -> bool:
    """Keep this process's pages in memory; return whether it was granted.

    It needs root, CAP_IPC_LOCK or a limit `memlock`.
    """
    try:
        lock = ctypes.CDLL(None).mlockall
    except (OSError, AttributeError):
        return False
    return lock(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0


def prepare_control_thread() -> str:
    """Raise the calling thread's priority and lock the memory of its process.

    Returns:
        what was not granted and what that means, one line; "" where all was.
    """
    wanted = {"real-time priority": raise_priority(), "locked memory": lock_memory()}
    refused = [name for name, granted in wanted.items() if not granted]
    if not refused:
        return ""
    return (
        f"not granted: {' and '.join(refused)}; on a busy computer the control loop may be late "
        "(docs/performance.md)"
    )


def freeze_garbage() -> None:
    """Collect now, and let the collector never look at what is left.

    Torch leaves some hundred thousand objects that live as long as the process. Walking them takes
    400 ms, at any time, in which no thread of this process runs.
    """
    gc.collect()
    gc.freeze()
