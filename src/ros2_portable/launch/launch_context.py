"""LaunchContext: what the entities of one launch share."""

import asyncio
import os
from collections import deque
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any


class LaunchContext:
    """Launch configurations, environment, local variables, event handlers and queued events."""

    def __init__(self, *, argv: Iterable[str] = (), noninteractive: bool = False) -> None:
        self.argv, self.noninteractive, self.is_shutdown = list(argv), noninteractive, False
        self.launch_configurations: dict[str, Any] = {}
        self.environment = os.environ  # what child processes inherit
        self.locals = SimpleNamespace()  # such as `event`, the one that is being handled
        self.event_handlers: list[Any] = []
        self.events: deque[Any] = deque()
        self.woken = asyncio.Event()
        self.asyncio_loop: asyncio.AbstractEventLoop | None = None
        self._scopes: list[tuple[dict[str, Any], dict[str, str]]] = []

    def get_locals_as_dict(self) -> dict[str, Any]:
        """Return a copy of the local variables."""
        return dict(vars(self.locals))

    def extend_locals(self, extension: dict[str, Any]) -> None:
        """Set local variables."""
        vars(self.locals).update(extension)

    def push_scope(self) -> None:
        """Remember launch configurations and environment until `pop_scope`."""
        self._scopes.append((dict(self.launch_configurations), dict(self.environment)))

    def pop_scope(self) -> None:
        """Go back to the launch configurations and the environment of the last `push_scope`."""
        self.launch_configurations, environment = self._scopes.pop()
        for name in set(self.environment) - set(environment):
            del self.environment[name]
        self.environment.update(environment)

    def register_event_handler(self, event_handler: Any) -> None:
        """Add a handler; the newest one is asked first."""
        self.event_handlers.insert(0, event_handler)

    def unregister_event_handler(self, event_handler: Any) -> None:
        """Remove a handler; ValueError if it is not there."""
        self.event_handlers.remove(event_handler)

    def emit_event_sync(self, event: Any) -> None:
        """Queue an event, from the launch's own thread."""
        self.events.append(event)
        self.woken.set()

    def perform_substitution(self, substitution: Any) -> str:
        """Return the text of a substitution."""
        return substitution.perform(self)
