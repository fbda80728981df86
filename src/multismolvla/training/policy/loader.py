"""Prepares the next batches while the model works on this one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from multismolvla.training.policy.batches import BatchMaker, Group

AHEAD = 2


class Loader:
    """Batches of the steps `first` to `last` - 1, in order.

    A step's groups are those of all its makers. Threads do: the work is in NumPy, OpenCV and torch,
    which let others run meanwhile.

    Attributes:
        waited_s: time that the reader has spent waiting.
    """

    def __init__(self, makers: Sequence[BatchMaker], first: int, last: int, workers: int) -> None:
        self._makers, self._first, self._last, self._workers = makers, first, last, workers
        self.waited_s = 0.0

    def __iter__(self) -> Iterator[tuple[int, list[Group]]]:
        """Step and its groups."""
        if self._workers == 0:
            for step in range(self._first, self._last):
                started = time.perf_counter()
                groups = self._make(step)
                self.waited_s += time.perf_counter() - started
                yield step, groups
            return
        pending: deque[Future[list[Group]]] = deque()
        pool = ThreadPoolExecutor(self._workers, "batches")
        try:
            following = self._first
            for step in range(self._first, self._last):
                while following < self._last and len(pending) < self._workers + AHEAD:
                    pending.append(pool.submit(self._make, following))
                    following += 1
                started = time.perf_counter()
                groups = pending.popleft().result()
                self.waited_s += time.perf_counter() - started
                yield step, groups
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _make(self, step: int) -> list[Group]:
        return [group for maker in self._makers for group in maker.make(step)]
