"""Substitution: text that becomes known only at launch time, and its constant case."""

from typing import Any

from .arguments import Arguments
from .launch_context import LaunchContext

# How upstream describes these.
_LABELS = {"LaunchConfiguration": "LaunchConfig", "EnvironmentVariable": "EnvVar"}


class Substitution(Arguments, method="perform"):
    """Text that is worked out from the launch context when it is needed."""

    def describe(self) -> str:
        """Return the form shown by `ros2 launch --show-args`."""
        texts = [" + ".join(sub.describe() for sub in subs) for subs in self.texts.values()]
        name = type(self).__name__
        return f"{_LABELS.get(name, name)}({', '.join(texts)})"

    def perform(self, context: LaunchContext, **arguments: Any) -> str:
        """Return the text."""
        raise NotImplementedError(f"{type(self).__name__} does not define perform()")


class TextSubstitution(Substitution):
    """Text that is known already."""

    def __init__(self, *, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"TextSubstitution: expected text of type str, got {text!r}")
        self.text = text

    def describe(self) -> str:
        return f"'{self.text}'"

    def perform(self, context: LaunchContext) -> str:
        return self.text
