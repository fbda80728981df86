"""The bring-up as a child process that never outlives its parent's interest in it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

# The launch system gives each node 5 s after SIGINT and 5 s after SIGTERM.
SHUTDOWN_TIMEOUT_S = 15.0

# As the launch argument `task`: start idle. `ros2 launch` refuses an empty value.
NO_TASK = " "


class BringupProcess:
    """`ros2 launch multismolvla bringup.launch.py` with its output in a file.

    A context manager: leaving it ends the launch and every node, whatever happened inside.
    """

    def __init__(self, arguments: Mapping[str, str], log_file: Path) -> None:
        self._log_file = log_file
        self._command = ["ros2", "launch", "multismolvla", "bringup.launch.py"]
        self._command += [f"{key}:={value}" for key, value in arguments.items()]

    def __enter__(self) -> BringupProcess:
        # Its own session: Ctrl-C in the terminal reaches only the parent, which lets the policy
        # hold first and then ends the launch in order.
        self._process = subprocess.Popen(
            self._command,
            stdout=self._log_file.open("w"),
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(SHUTDOWN_TIMEOUT_S)
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._process.wait()

    def check(self) -> None:
        """Raise RuntimeError with the end of the log when the launch has ended by itself."""
        if self._process.poll() is not None:
            tail = "\n".join(self._log_file.read_text(errors="replace").splitlines()[-8:])
            raise RuntimeError(
                f"the bring-up ended by itself (exit code {self._process.returncode}); "
                f"the end of {self._log_file}:\n{tail}"
            )
