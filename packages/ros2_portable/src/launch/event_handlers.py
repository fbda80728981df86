"""Events and the handlers that say which entities are visited after them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ros2_portable import outside

from .launch_context import Shutdown

__getattr__ = outside(__name__)


class ProcessStarted(SimpleNamespace):
    """Event: a process runs: action, name, cmd, cwd, env, pid."""


class ProcessExited(SimpleNamespace):
    """Event: a process has ended: as ProcessStarted, and returncode, negative for a signal."""


class EventHandler:
    """Visits `reaction`, or what `reaction(event, context)` returns, after each matching event."""

    def __init__(self, matches: Callable[[SimpleNamespace], bool], reaction: Any) -> None:
        self.matches, self.reaction = matches, reaction


class OnProcessStart(EventHandler):
    """Reacts when a process, or any, has been started."""

    def __init__(self, *, target_action: Any = None, on_start: Any) -> None:
        super().__init__(_of(target_action, ProcessStarted), on_start)


class OnProcessExit(EventHandler):
    """Reacts when a process, or any, has ended."""

    def __init__(self, *, target_action: Any = None, on_exit: Any) -> None:
        super().__init__(_of(target_action, ProcessExited), on_exit)


class OnShutdown(EventHandler):
    """Reacts when the launch begins to end."""

    def __init__(self, *, on_shutdown: Any) -> None:
        super().__init__(lambda event: isinstance(event, Shutdown), on_shutdown)


def _of(action: Any, event_type: type) -> Callable[[SimpleNamespace], bool]:
    """Match events of this type: of one action, of those that a function is true of, or of all."""
    is_meant = action if callable(action) else lambda other: action in (None, other)
    return lambda event: isinstance(event, event_type) and is_meant(event.action)
