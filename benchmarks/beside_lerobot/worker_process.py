"""A process that answers lines with JSON, and dies with its reason in a log."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class WorkerError(RuntimeError):
    """A worker ended; the message names it, its last words and its log."""


class WorkerProcess:
    """Started at once; `receive` waits for its next line, `ask` sends one and waits.

    Args:
        environment: all of its variables.
        log: file that takes its standard error.

    Raises:
        WorkerError: it cannot be started.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self._name = name
        self._log = log
        try:
            with log.open("w") as errors:
                self._process = subprocess.Popen(
                    command,
                    env=dict(environment),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
        except OSError as error:
            raise WorkerError(f"{name}: {error.filename}: {error.strerror}") from None

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_) -> None:
        # Nothing of it is worth waiting for.
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()

    def receive(self) -> dict[str, Any]:
        """The next reply.

        Raises:
            WorkerError: the process ended instead.
        """
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            last_words = self._log.read_text(errors="replace").strip().splitlines()
            reason = last_words[-1] if last_words else f"exit status {status}"
            raise WorkerError(f"{self._name}: {reason} (see {self._log})")
        return json.loads(line)

    def ask(self, line: str) -> dict[str, Any]:
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended, and `receive` says why
        return self.receive()
