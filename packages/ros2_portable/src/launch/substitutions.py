"""Substitutions: text that becomes known only at launch time."""

import math
import os
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from ros2_portable import outside

from .launch_context import LaunchContext

__getattr__ = outside(__name__)
# An argument that is text, a substitution or several of both, to be joined.
Text = str | Path | Iterable[Any]


class SubstitutionFailure(RuntimeError):
    """A substitution has no text; the message says why."""


class Substitution:
    """Text that is worked out from the launch context when it is needed."""

    label = ""  # how `ros2 launch --show-args` names it, if not by its class

    def describe(self) -> str:
        """Return the form shown by `ros2 launch --show-args`, from the first argument."""
        return f"{self.label or type(self).__name__}({describe(next(iter(vars(self).values())))})"

    def perform(self, context: LaunchContext) -> str:
        """Return the text."""
        raise NotImplementedError(f"{type(self).__name__} does not define perform()")


@dataclass(eq=False, kw_only=True)
class TextSubstitution(Substitution):
    """Text that is known already."""

    text: str

    def describe(self) -> str:
        return f"'{self.text}'"

    def perform(self, context: LaunchContext) -> str:
        return self.text


def _as_list(subs: Text | Substitution) -> list[Substitution]:
    if isinstance(subs, Substitution):
        return [subs]
    if isinstance(subs, str | Path):
        return [TextSubstitution(text=str(subs))]
    items = list(subs) if isinstance(subs, Iterable) else [None]
    if not all(isinstance(item, str | Path | Substitution) for item in items):
        raise TypeError(f"expected text or substitutions, got {subs!r} ({type(subs).__name__})")
    return [sub for item in items for sub in _as_list(item)]


def as_text(context: LaunchContext, value: Text | Substitution | bool | float) -> str:
    """Return the text of what an argument may be; booleans in lower case."""
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return "".join(sub.perform(context) for sub in _as_list(value))


def describe(value: Text | Substitution) -> str:
    """Return the form of an argument that is shown by `ros2 launch --show-args`."""
    return " + ".join(sub.describe() for sub in _as_list(value))


@dataclass(eq=False)
class LaunchConfiguration(Substitution):
    """The value of a launch argument or another launch configuration."""

    variable_name: Text
    _: KW_ONLY
    default: Any = None
    label = "LaunchConfig"

    def perform(self, context: LaunchContext) -> str:
        name = as_text(context, self.variable_name)
        if name in context.launch_configurations:
            return context.launch_configurations[name]
        if self.default is None:
            raise SubstitutionFailure(f"launch configuration '{name}' does not exist")
        return as_text(context, self.default)


@dataclass(eq=False)
class EnvironmentVariable(Substitution):
    """The value of an environment variable of the launch."""

    name: Text
    _: KW_ONLY
    default_value: Any = None
    label = "EnvVar"

    def perform(self, context: LaunchContext) -> str:
        name = as_text(context, self.name)
        if name in context.environment:
            return context.environment[name]
        if self.default_value is None:
            raise SubstitutionFailure(f"environment variable '{name}' does not exist")
        return as_text(context, self.default_value)


@dataclass(eq=False)
class PathJoinSubstitution(Substitution):
    """Parts of a path, joined."""

    substitutions: Iterable[Text]

    def perform(self, context: LaunchContext) -> str:
        return os.path.join(*(as_text(context, part) for part in self.substitutions))

    def describe(self) -> str:
        return f"LocalVar('{' + '.join(describe(part) for part in self.substitutions)}')"


@dataclass(eq=False)
class PythonExpression(Substitution):
    """The value of a Python expression; the names of `math` are at hand in it."""

    expression: Text

    def perform(self, context: LaunchContext) -> str:
        expression = as_text(context, self.expression)
        try:
            return str(eval(expression, {}, {"math": math, **vars(math)}))
        except Exception as error:
            text = f"cannot evaluate the Python expression [{expression}]: {error}"
            raise SubstitutionFailure(text) from error
