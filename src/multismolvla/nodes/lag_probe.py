"""How late an executor runs its callbacks, measured by a timer of its own."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from multismolvla.sensing.lag import LagMeter, Waiting

# How long a message has waited in this process when its callback runs.


def with_wait(callback: Callable[[Any, int], None]) -> Callable[..., None]:
    """A callback for `create_subscription` that calls `callback(message, wait_ns)`."""
    waiting = Waiting()

    # Its two parameters, which this takes on, make rclpy hand over the message's info.
    @functools.wraps(callback)
    def on_message(*arguments: Any) -> None:
        # rclpy's EventsExecutor (7.1.6) gives both as one tuple, its other executors as two.
        message, info = arguments[0] if len(arguments) == 1 else arguments
        arrival_ns = info["received_timestamp"]
        callback(message, waiting.of(arrival_ns, time.time_ns(), time.monotonic_ns()))

    return on_message


class LagProbe:
    """A timer on the machine's monotonic clock that notes how late it is.

    Args:
        period_s: of the timer; a pause shorter than this may pass unseen.

    Attributes:
        lag: what it has measured.
    """

    def __init__(self, node: Node, period_s: float) -> None:
        self.lag = LagMeter()
        self._period_ns = round(period_s * 1e9)
        # Counted from the first call: until its executor runs, a node is starting and not late.
        self._due_ns: int | None = None
        # Simulated time that stands still, or jumps, is no load.
        node.create_timer(period_s, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_timer(self) -> None:
        now_ns = time.monotonic_ns()
        # A timer is never early: if it seems so, the first call was late.
        self._due_ns = now_ns if self._due_ns is None else min(self._due_ns, now_ns)
        late_ns = now_ns - self._due_ns
        self.lag.note(now_ns, late_ns)
        # A timer keeps its phase: what it missed it skips.
        self._due_ns += (1 + late_ns // self._period_ns) * self._period_ns
