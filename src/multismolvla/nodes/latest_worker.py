"""Slow work on the newest of many items, outside the executor, for one client or for several."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node

from multismolvla.nodes.run import call_soon

# Work in progress cannot be interrupted; closing waits this long for it to end.
END_S = 5.0
# A client that has not had an item for so long is not waited for.
ACTIVE_S = 0.5


class LatestWorker:
    """Calls `work(items)` in its own thread, with the newest item of every client that has one.

    An item that comes while another of its client is waiting replaces it, so that a slow worker
    falls behind in rate and never in time. The thread lives while there are clients.

    Args:
        work: gets the items of a batch and returns a result for each, in their order.
        gather_s: how long the first item of a batch waits for those of the other clients.
    """

    def __init__(self, work: Callable[[list[Any]], Sequence[Any]], gather_s: float = 0.0) -> None:
        self._work, self._gather_s = work, gather_s
        self._condition = threading.Condition()
        self._clients: list[Client] = []
        self._thread: threading.Thread | None = None

    def join(self, node: Node, on_done: Callable[[Any, Exception | None], None]) -> Client:
        """Return a new client.

        Args:
            on_done: called in the node's executor, with a result and None, or with None and what
                `work` raised.
        """
        client = Client(self, node, on_done)
        with self._condition:
            self._clients.append(client)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
                self._thread.start()
        return client

    def _leave(self, client: Client) -> None:
        with self._condition:
            self._clients.remove(client)
            last, thread = not self._clients, self._thread
            if last:
                self._thread = None
                self._condition.notify_all()
        if last:
            thread.join(END_S)

    def _submit(self, client: Client, item: Any) -> None:
        with self._condition:
            client.waiting, client.submitted_s = [item], time.monotonic()
            self._condition.notify_all()

    def _ended(self) -> bool:
        return self._thread is not threading.current_thread()

    def _any_waiting(self) -> bool:
        return self._ended() or any(client.waiting for client in self._clients)

    def _all_waiting(self) -> bool:
        since_s = time.monotonic() - ACTIVE_S
        return self._ended() or all(
            client.waiting or client.submitted_s < since_s for client in self._clients
        )

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(self._any_waiting)
                self._condition.wait_for(self._all_waiting, self._gather_s)
                if self._ended():
                    return
                batch = [
                    (client, client.waiting.pop()) for client in self._clients if client.waiting
                ]
            self._do(batch)

    def _do(self, batch: list[tuple[Client, Any]]) -> None:
        try:
            results = self._work([item for _, item in batch])
        except Exception as error:  # A model is foreign code: it may raise anything.
            if len(batch) > 1:
                # One bad item must not cost the others their result.
                for one in batch:
                    self._do([one])
            else:
                batch[0][0].done(None, error)
            return
        for (client, _), result in zip(batch, results, strict=True):
            client.done(result, None)


class Client:
    """One source of items for a `LatestWorker`."""

    def __init__(
        self,
        worker: LatestWorker,
        node: Node,
        on_done: Callable[[Any, Exception | None], None],
    ) -> None:
        self._worker, self._node, self._on_done = worker, node, on_done
        self._closed = False
        self._outcomes: deque[tuple[Any, Exception | None]] = deque()
        # Guarded by the worker's condition: the item that is worked on next, and when it came.
        self.waiting: list[Any] = []
        self.submitted_s = float("-inf")

    def submit(self, item: Any) -> None:
        """Have this item worked on next; never waits."""
        self._worker._submit(self, item)

    def close(self) -> None:
        """Leave; the outcome of work in progress is dropped."""
        self._closed = True
        self._worker._leave(self)

    def done(self, result: Any, error: Exception | None) -> None:
        """Hand an outcome over to the node's executor."""
        self._outcomes.append((result, error))
        call_soon(self._node, self._hand_over)

    def _hand_over(self) -> None:
        # An executor may run its tasks in any order; outcomes keep theirs.
        outcome = self._outcomes.popleft()
        if not self._closed:
            self._on_done(*outcome)
