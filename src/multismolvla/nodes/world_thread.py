"""A simulated world that is stepped, at the pace of real time, in a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError
from typing import Protocol

from rclpy.node import Node

# Time the machine could not keep up with is given up rather than rushed through.
MAX_LAG_S = 0.1
# Another task is another scene; on a busy machine it takes long to load.
LOAD_TIMEOUT_S = 120.0
END_S = 5.0


class Owner(Protocol):
    """What the thread calls; nothing else touches the world meanwhile."""

    def on_show(self) -> None:
        """A period begins: publish what states and cameras tell."""
        ...

    def on_step(self) -> None:
        """It ends: do the step that is due."""
        ...

    def on_lag(self, lag_s: float) -> None:
        """The period ends so late, seconds; negative where there is time left."""
        ...

    def on_end(self) -> None:
        """The thread ends: release the world."""
        ...


class WorldThread:
    """Lets a world live until it is closed.

    Args:
        node: logs, and ends where the thread fails.
        period_s: of a step, on the machine's clock.
    """

    def __init__(self, node: Node, owner: Owner, period_s: float) -> None:
        self._node, self._owner, self._period_s = node, owner, period_s
        self._calls: queue.SimpleQueue[tuple[Future, Callable]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="world", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, after the period in progress."""
        self._stop.set()
        self._thread.join(timeout=END_S)

    def call(self, function: Callable[[], str]) -> str:
        """Have the thread call a function between two periods, and return what it returns.

        Raises:
            ValueError: the function did, or it was not done in time; one line.
        """
        if not self._thread.is_alive():
            raise ValueError("the simulation has ended")
        done: Future[str] = Future()
        self._calls.put((done, function))
        try:
            return done.result(LOAD_TIMEOUT_S)
        except TimeoutError:
            raise ValueError(f"not done after {LOAD_TIMEOUT_S:.0f} s") from None

    def _run(self) -> None:
        try:
            self._live()
        except Exception as error:  # Whatever it is, a new process is what helps.
            if not self._stop.is_set() and self._node.context.ok():
                self._node.get_logger().fatal(
                    f"the simulation failed ({type(error).__name__}: {error}); the node ends and "
                    "is restarted"
                )
                self._node.context.try_shutdown()
        finally:
            self._owner.on_end()
            while not self._calls.empty():
                self._calls.get()[0].set_exception(ValueError("the simulation has ended"))

    def _live(self) -> None:
        due_s = time.monotonic()
        while not self._stop.is_set():
            while not self._calls.empty():
                self._do(*self._calls.get())
                due_s = time.monotonic()
            self._owner.on_show()
            due_s += self._period_s
            late_s = time.monotonic() - due_s
            self._owner.on_lag(late_s)
            if late_s > MAX_LAG_S:
                due_s = time.monotonic()
            # The step comes last, so that the policy has had the period for its answer.
            if not self._stop.wait(max(0.0, -late_s)):
                self._owner.on_step()

    def _do(self, done: Future, function: Callable[[], str]) -> None:
        try:
            done.set_result(function())
        except ValueError as error:
            done.set_exception(error)
