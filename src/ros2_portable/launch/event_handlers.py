"""Event handlers: which entities are visited after which events."""

from collections.abc import Callable
from typing import Any

from .events import Event, ExecutionComplete, Shutdown
from .events.process import ProcessExited, ProcessStarted
from .launch_context import LaunchContext
from .outside import outside

__getattr__ = outside(__name__)


class EventHandler:
    """Yields `entities`, or what `entities(event, context)` returns, for each matching event."""

    def __init__(self, *, matcher: Callable[[Event], bool], entities=None, handle_once=False):
        self.matches, self.entities, self.handle_once = matcher, entities, handle_once

    def handle(self, event: Event, context: LaunchContext) -> Any:
        """Return the entities to visit for this event."""
        context.extend_locals({"event": event})
        if self.handle_once:
            context.unregister_event_handler(self)
        return self.entities(event, context) if callable(self.entities) else self.entities


def _handler(name: str, event_type: type[Event], reaction: str) -> type[EventHandler]:
    """Make a handler class whose argument `reaction` takes the entities or the function."""

    def initialize(self: Any, *, target_action: Any = None, **options: Any) -> None:
        def matches(event: Event) -> bool:
            fits = target_action if callable(target_action) else lambda each: each is target_action
            return isinstance(event, event_type) and (target_action is None or fits(event.action))

        EventHandler.__init__(self, matcher=matches, entities=options.pop(reaction), **options)

    return type(name, (EventHandler,), {"__init__": initialize})


OnProcessStart = _handler("OnProcessStart", ProcessStarted, "on_start")
OnProcessExit = _handler("OnProcessExit", ProcessExited, "on_exit")
OnShutdown = _handler("OnShutdown", Shutdown, "on_shutdown")
OnExecutionComplete = _handler("OnExecutionComplete", ExecutionComplete, "on_completion")
