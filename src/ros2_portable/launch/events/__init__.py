"""Events: what happens while a launch runs."""

from collections.abc import Callable
from typing import Any

from ..outside import outside
from . import process  # noqa: F401
from .process import Event

__getattr__ = outside(__name__)


class Shutdown(Event):
    """The launch ends: reason."""

    reason = "reason not given"
    due_to_sigint = False


class ExecutionComplete(Event):
    """An action is through: action."""


class Due(Event):
    """The time has come to visit what `entities(context)` returns."""


def matches_action(target_action: Any) -> Callable[[Any], bool]:
    """Return a matcher for the events that concern this action."""
    return lambda action: action is target_action
