"""A timer for the deadline of a plain object that is driven by a clock."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node


class DeadlineTimer:
    """Calls back when the deadline that was set last is reached, on the node's clock.

    It keeps calling until another deadline is set, or none.
    """

    def __init__(self, node: Node, callback: Callable[[], None]) -> None:
        self._clock = node.get_clock()
        self._timer = node.create_timer(1.0, callback, autostart=False)

    def set(self, deadline_ns: int | None) -> None:
        """Wait for this time instead of the one before; None for none."""
        if deadline_ns is None:
            self._timer.cancel()
            return
        # A period, and not a time: a clock that is set back delays it and does no harm.
        self._timer.timer_period_ns = max(deadline_ns - self._clock.now().nanoseconds, 0) + 1
        self._timer.reset()
