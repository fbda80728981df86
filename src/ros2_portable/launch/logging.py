"""Where a launch writes: the screen and, below ROS_LOG_DIR, `launch.log` and files of processes."""

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import TextIO

# By upstream's names of output configurations: where stdout and stderr go.
_OUTPUTS = {
    "screen": (["screen"], ["screen"]),
    "log": (["launch.log"], ["launch.log", "screen"]),
    "both": (["launch.log", "screen"], ["launch.log", "screen"]),
    "own_log": (["{}-stdout.log"], ["{}-stderr.log"]),
    "full": (["launch.log", "screen", "{}-stdout.log"], ["launch.log", "screen", "{}-stderr.log"]),
}


@cache
def log_dir() -> str:
    """Make this launch's folder in $ROS_LOG_DIR, else $ROS_HOME/log, else ~/.ros/log."""
    home = os.environ.get("ROS_HOME") or "~/.ros"
    base = os.path.expanduser(os.environ.get("ROS_LOG_DIR") or os.path.join(home, "log"))
    name = f"{datetime.now():%Y-%m-%d-%H-%M-%S-%f}-{socket.gethostname()}-{os.getpid()}"
    os.makedirs(os.path.join(base, name), exist_ok=True)
    return os.path.join(base, name)


@cache
def _log_file(name: str) -> TextIO:
    return open(os.path.join(log_dir(), name), "a", encoding="utf-8", buffering=1)


def write(line: str, places: Iterable[str]) -> None:
    """Write one line to `screen` or to files in the log folder."""
    for place in places:
        if place == "screen":
            encoding = sys.stdout.encoding or "utf-8"
            with contextlib.suppress(BrokenPipeError):  # The launch outlives its screen's reader.
                print(line.encode(encoding, "replace").decode(encoding), flush=True)
        else:
            _log_file(place).write(f"{time.time():.7f} {line}\n")


def output_places(process_name: str, output: str) -> list[list[str]]:
    """Return where stdout and stderr of a process go; ValueError for an unknown configuration."""
    if output not in _OUTPUTS:
        raise ValueError(f"output is '{output}'; expected one of {', '.join(_OUTPUTS)}")
    return [[each.format(process_name) for each in places] for places in _OUTPUTS[output]]


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        line = f"[{record.levelname}] [{record.name}]: {record.getMessage()}"
        write(line, ("screen", "launch.log"))


def get_logger(name: str = "launch") -> logging.Logger:
    """Return a logger that writes to the screen and to `launch.log`."""
    logger = logging.getLogger(name)
    if not logger.handlers:
        logger.addHandler(_Handler())
        logger.propagate = False
        logger.setLevel(logging.getLogger("launch").level or logging.INFO)
    return logger
