"""How long a message has waited in this process when its callback runs."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from multismolvla.sensing.lag import Waiting


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
