"""Slow work on the newest of many items, outside the executor."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

# Work in progress cannot be interrupted; closing waits this long for it to end.
END_S = 5.0


class LatestWorker:
    """Calls `work(item)` in a thread of its own and `on_done` with the outcome in the executor.

    An item that comes while another is waiting replaces it, so that a slow worker falls behind in
    rate and never in time.
    """

    def __init__(
        self,
        node: Node,
        work: Callable[[Any], Any],
        on_done: Callable[[Any, Exception | None], None],
    ) -> None:
        """Start the thread.

        Args:
            on_done: called with the result and None, or with None and what `work` raised.
        """
        self._work, self._on_done = work, on_done
        self._condition = threading.Condition()
        self._waiting: list[Any] = []
        self._closing = False
        self._done: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()
        self._guard = node.create_guard_condition(self._hand_over)
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def submit(self, item: Any) -> None:
        """Have this item worked on next; never waits."""
        with self._condition:
            self._waiting = [item]
            self._condition.notify()

    def close(self) -> None:
        """End the thread; the outcome of work in progress is dropped."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(END_S)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    return
                item = self._waiting.pop()
            try:
                outcome = self._work(item), None
            except Exception as error:  # A model is foreign code: it may raise anything.
                outcome = None, error
            with self._condition:
                if self._closing:
                    return
                self._done.put(outcome)
                self._guard.trigger()

    def _hand_over(self) -> None:
        while not self._done.empty():
            self._on_done(*self._done.get())
