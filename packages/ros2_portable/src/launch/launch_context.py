"""LaunchContext: what the entities of one launch share, and how they are visited."""

import asyncio
import os
import traceback
from collections.abc import Callable, Iterable
from signal import Signals
from types import SimpleNamespace
from typing import Any

from .logging import get_logger, write


class Shutdown(SimpleNamespace):
    """Event: the launch begins to end: reason."""


class LaunchContext:
    """Launch configurations, environment, local variables and everything that is still to come."""

    def __init__(self, *, argv: Iterable[str] = ()) -> None:
        self.argv = list(argv)
        self.launch_configurations: dict[str, Any] = {}
        self.environment = os.environ  # what child processes inherit
        self.locals = SimpleNamespace(event=None)  # the event whose reactions are visited
        self.is_shutdown, self.return_code = False, 0
        self.futures: set[asyncio.Future] = set()  # what the launch waits for
        # Called once the launch ends, and again with each signal of someone impatient.
        self.enders: list[Callable[[Signals | None], None]] = []
        self._handlers: list[Any] = []

    def register_event_handler(self, event_handler: Any) -> None:
        """Add a handler; the newest one is asked first."""
        self._handlers.insert(0, event_handler)

    def emit(self, event: SimpleNamespace) -> None:
        """Visit the reactions to an event."""
        for handler in list(self._handlers):
            if handler.matches(event):
                self.visit(handler.reaction, event)

    def visit(self, entities: Any, event: SimpleNamespace | None = None) -> None:
        """Visit entities, or what `entities(event, context)` returns; an error ends the launch."""
        before, self.locals = self.locals, SimpleNamespace(event=event)
        try:
            self._visit(entities(event, self) if callable(entities) else entities)
        except Exception as error:
            self._fail(error)
        self.locals = before

    def _visit(self, entities: Any) -> None:
        for entity in entities if isinstance(entities, list | tuple) else [entities]:
            if entity is not None:
                inside = entity.visit(self)
                if entity.future is not None:
                    self.futures.add(entity.future)
                    entity.future.add_done_callback(self._on_done)
                self._visit(inside)

    def _on_done(self, future: asyncio.Future) -> None:
        self.futures.discard(future)
        if not future.cancelled() and future.exception():
            self._fail(future.exception())

    def _fail(self, error: BaseException) -> None:
        # A KeyError prints as the representation of its message.
        text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        write("".join(traceback.format_exception(error)), ["log"])
        get_logger().error(f"Caught exception in launch (see launch.log for traceback): {text}")
        self.return_code = 1
        self.shutdown(f"Caught exception in launch: {text}")

    def shutdown(self, reason: str, number: Signals | None = None) -> None:
        """End the launch; `number` is the signal that asked for it, if one did."""
        first, self.is_shutdown = not self.is_shutdown, True
        for end in self.enders:
            end(number)
        if first:
            self.emit(Shutdown(reason=reason))
