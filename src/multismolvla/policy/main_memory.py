"""Giving main memory back that nothing uses any more."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def release() -> None:
    """Collect garbage and have the C library give its free pages back to the system.

    Without it the peak of loading stays with the process: glibc keeps what was freed.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
