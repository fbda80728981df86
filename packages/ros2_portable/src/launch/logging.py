"""Where a launch writes: the screen and `launch.log` in a folder of its own."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import TextIO

# By upstream's names of output configurations: where stdout and stderr go.
OUTPUTS = {
    "screen": (["screen"], ["screen"]),
    "log": (["log"], ["log", "screen"]),
    "both": (["log", "screen"], ["log", "screen"]),
}


@cache
def log_dir() -> str:
    """Make this launch's folder in $ROS_LOG_DIR, else $ROS_HOME/log, else ~/.ros/log."""
    home = os.environ.get("ROS_HOME") or "~/.ros"
    base = os.path.expanduser(os.environ.get("ROS_LOG_DIR") or os.path.join(home, "log"))
    path = os.path.join(base, f"{datetime.now():%Y-%m-%d-%H-%M-%S-%f}-{os.getpid()}")
    os.makedirs(path, exist_ok=True)
    return path


@cache
def _log_file() -> TextIO:
    return open(os.path.join(log_dir(), "launch.log"), "a", encoding="utf-8", buffering=1)


def write(line: str, places: Iterable[str]) -> None:
    """Write one line to `screen`, to `log` or to both."""
    if "log" in places:
        _log_file().write(f"{time.time():.7f} {line}\n")
    if "screen" in places:
        encoding = sys.stdout.encoding or "utf-8"
        with contextlib.suppress(BrokenPipeError):  # The launch outlives its screen's reader.
            print(line.encode(encoding, "replace").decode(encoding), flush=True)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        line = f"[{record.levelname}] [{record.name}]: {record.getMessage()}"
        write(line, ["screen", "log"])


def get_logger(name: str = "launch") -> logging.Logger:
    """Return a logger that writes to the screen and to `launch.log`."""
    logger = logging.getLogger(name)
    if not logger.handlers:
        logger.addHandler(_Handler())
        logger.propagate = False
        logger.setLevel(logging.INFO)
    return logger
