"""The substitutions of a launch description."""

import importlib
import math
import os
import shutil
from typing import Any

from .arguments import Text, Truth
from .launch_context import LaunchContext
from .outside import outside
from .substitution import Substitution, TextSubstitution  # noqa: F401
from .utilities import normalize_to_list_of_substitutions as normalize
from .utilities import perform_substitutions

__getattr__ = outside(__name__)


class SubstitutionFailure(RuntimeError):
    """A substitution has no text; the message says why."""


def _text(context: LaunchContext, value: Any) -> str:
    """Return the text of substitutions, or of any other value, booleans in lower case."""
    if isinstance(value, bool | int | float):
        value = str(value).lower()
    return perform_substitutions(context, normalize("" if value is None else value))


class LaunchConfiguration(Substitution):
    """The value of a launch argument or another launch configuration."""

    label = "LaunchConfig"

    def perform(self, context: LaunchContext, variable_name: Text, *, default: Any = None) -> str:
        if variable_name in context.launch_configurations:
            return context.launch_configurations[variable_name]
        if default is None:
            raise SubstitutionFailure(f"launch configuration '{variable_name}' does not exist")
        return _text(context, default)


class EnvironmentVariable(Substitution):
    """The value of an environment variable of the launch."""

    label = "EnvVar"

    def perform(self, context: LaunchContext, name: Text, *, default_value: Any = None) -> str:
        if name in context.environment:
            return context.environment[name]
        if default_value is None:
            raise SubstitutionFailure(f"environment variable '{name}' does not exist")
        return _text(context, default_value)


class FindExecutable(Substitution):
    """The path of a program on PATH."""

    label = "FindExec"

    def perform(self, context: LaunchContext, *, name: Text) -> str:
        path = shutil.which(name)
        if path is None:
            raise SubstitutionFailure(f"executable '{name}' not found on the PATH")
        return path


class ThisLaunchFileDir(Substitution):
    """The folder of the launch file that is being run."""

    def perform(self, context: LaunchContext) -> str:
        path = context.get_locals_as_dict().get("current_launch_file_path")
        if path is None:
            raise SubstitutionFailure("ThisLaunchFileDir used outside of a launch file")
        return os.path.dirname(path)


class PathJoinSubstitution(Substitution):
    """Parts of a path, joined."""

    def perform(self, context: LaunchContext, substitutions: Any) -> str:
        return os.path.join(*(_text(context, part) for part in substitutions))

    def describe(self) -> str:
        parts = (sub.describe() for part in self.substitutions for sub in normalize(part))
        return f"LocalVar('{' + '.join(parts)}')"


class PythonExpression(Substitution):
    """The value of a Python expression; the names of `math` are at hand in it."""

    label = "PythonExpr"

    def perform(
        self, context: LaunchContext, expression: Text, python_modules: Any = ("math",)
    ) -> str:
        modules = [_text(context, each) for each in normalize(python_modules)]
        names = {name: importlib.import_module(name) for name in modules}
        try:
            return str(eval(expression, {}, vars(math) | names if "math" in names else names))
        except Exception as error:
            raise SubstitutionFailure(
                f"cannot evaluate the Python expression [{expression}]: {error}"
            ) from error


class NotSubstitution(Substitution):
    """`true` if the value is false."""

    def perform(self, context: LaunchContext, value: Truth) -> str:
        return _text(context, not value)


class AndSubstitution(Substitution):
    """`true` if both sides are."""

    def perform(self, context: LaunchContext, left: Truth, right: Truth) -> str:
        return _text(context, left and right)


class OrSubstitution(Substitution):
    """`true` if one of the sides is."""

    def perform(self, context: LaunchContext, left: Truth, right: Truth) -> str:
        return _text(context, left or right)


class EqualsSubstitution(Substitution):
    """`true` if both sides are equal: as booleans, as numbers, or else as text."""

    def perform(self, context: LaunchContext, left: Any, right: Any) -> str:
        sides = [_text(context, side) for side in (left, right)]
        flags = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}
        if all(side.lower() in flags for side in sides):
            sides = [str(flags[side.lower()]) for side in sides]
        try:
            return _text(context, math.isclose(*(float(side) for side in sides)))
        except ValueError:
            return _text(context, sides[0] == sides[1])


class IfElseSubstitution(Substitution):
    """One of two texts, by a condition."""

    def perform(
        self, context: LaunchContext, condition: Truth, if_value: Any = "", else_value: Any = ""
    ) -> str:
        return _text(context, if_value if condition else else_value)
