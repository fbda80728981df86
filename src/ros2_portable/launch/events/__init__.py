"""Events: what happens while a launch runs."""

from collections.abc import Callable
from typing import Any

from ..outside import outside
from . import process  # noqa: F401
from .process import Event

__getattr__ = outside(__name__)


class Shutdown(Event):
    """The launch ends, for this reason."""

    def __init__(self, *, reason: str = "reason not given", due_to_sigint: bool = False) -> None:
        super().__init__(reason=reason, due_to_sigint=due_to_sigint)


class ExecutionComplete(Event):
    """An action is through: action."""


class Due(Event):
    """Entities that have waited are to be visited: entities, locals (variables of theirs)."""


def matches_action(target_action: Any) -> Callable[[Any], bool]:
    """Return a matcher for the events that concern this action."""
    return lambda action: action is target_action
