"""What a process does first that renders beside others of its kind."""

from __future__ import annotations

import multiprocessing
import os
import threading


def start_worker() -> None:
    """Prepare a process of a pool, before it makes its first OpenGL context.

    It renders with one thread, since there is a process per core, and ends with its parent.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """Leave when the parent is gone, which a killed one cannot ask for."""
    parent.join()
    os._exit(1)
