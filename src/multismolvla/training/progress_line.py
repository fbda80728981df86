"""Progress of a long job: a live bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOG_EVERY_S = 15.0


class ProgressLine:
    """Counts to `total`; use as a context. `note` is what stands behind the bar."""

    def __init__(self, title: str, total: int) -> None:
        self._console = Console()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
        )
        self._title = title
        self._task = self._progress.add_task(title, total=total, note="")
        self._logged_s = 0.0

    def __enter__(self) -> ProgressLine:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        """Show that `done` are done."""
        self._progress.update(self._task, completed=done, total=total, note=note)
        task = self._progress.tasks[0]
        now = time.monotonic()
        due = now - self._logged_s >= LOG_EVERY_S or task.finished
        if not self._console.is_terminal and due:
            self._logged_s = now
            print(f"{self._title} {done}/{task.total:.0f} {note}", flush=True)
