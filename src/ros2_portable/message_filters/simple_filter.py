"""The base of all filters: callbacks that are called with the filter's output."""

import itertools
from collections.abc import Callable
from typing import Any


class SimpleFilter:
    """Keeps callbacks and calls them, in the order of registration, with each output."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., None], tuple]] = {}
        # Never reused, so that an old connection cannot unregister a newer callback.
        self._next_connection = itertools.count()

    def registerCallback(self, cb: Callable[..., None], *args: Any) -> int:
        """Call `cb(*output, *args)` for each output; return the connection's number."""
        connection = next(self._next_connection)
        self.callbacks[connection] = (cb, args)
        return connection

    def unregisterCallback(self, conn: int) -> None:
        """Forget a callback; an unknown connection is ignored."""
        self.callbacks.pop(conn, None)

    def signalMessage(self, *msg: Any) -> None:
        """Hand an output to every callback."""
        # A copy: a callback may register or unregister callbacks.
        for cb, args in tuple(self.callbacks.values()):
            cb(*msg, *args)
