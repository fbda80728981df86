"""Whether the machine's shared memory holds what Fast DDS wants for images."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FOLDER = Path("/dev/shm")
# Of each process with config/fastdds.xml: its segment of 32 MB, ports and locks. Measured.
PROCESS_BYTES = 35_000_000
# Beside the launch: a demo, a monitor, a command such as `ros2 topic`.
OTHERS = 2


def shortage(processes: int, folder: Path = FOLDER) -> str:
    """What is wrong with the shared memory, what follows and what to do, one line; "" if nothing.

    Args:
        processes: how many will be launched.
        folder: where the shared memory is.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"{folder}: {error.strerror}; {_FOLLOWS}"
    wanted = (processes + OTHERS) * PROCESS_BYTES
    if free >= wanted:
        return ""
    return (
        f"{folder} has {free / 1e6:.0f} MB free, the {processes} processes of this launch want "
        f"{wanted / 1e6:.0f}; {_FOLLOWS}"
    )


_FOLLOWS = (
    "images go over UDP instead (docs/performance.md). To have more: docker run --shm-size=512m; "
    "to remove what killed programs left: fastdds shm clean"
)


def is_ours(profile: str | None, shipped: Path) -> bool:
    """Whether the Fast DDS profile in force is the shipped one, or none: another is the user's."""
    if not profile:
        return True
    try:
        return os.path.samefile(profile, shipped) or (
            Path(profile).read_bytes() == shipped.read_bytes()
        )
    except OSError:
        return False
