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
substitution = Substitution.from_function


class SubstitutionFailure(RuntimeError):
    """A substitution has no text; the message says why."""


def _text(context: LaunchContext, value: Any) -> str:
    """Return the text of substitutions, or of any other value, booleans in lower case."""
    if isinstance(value, bool | int | float):
        value = str(value).lower()
    return perform_substitutions(context, normalize("" if value is None else value))


@substitution
def LaunchConfiguration(self, context, variable_name: Text, *, default: Any = None) -> str:
    """The value of a launch argument or another launch configuration."""
    if variable_name in context.launch_configurations:
        return context.launch_configurations[variable_name]
    if default is None:
        raise SubstitutionFailure(f"launch configuration '{variable_name}' does not exist")
    return _text(context, default)


@substitution
def EnvironmentVariable(self, context, name: Text, *, default_value: Any = None) -> str:
    """The value of an environment variable of the launch."""
    if name in context.environment:
        return context.environment[name]
    if default_value is None:
        raise SubstitutionFailure(f"environment variable '{name}' does not exist")
    return _text(context, default_value)


@substitution
def FindExecutable(self, context, *, name: Text) -> str:
    """The path of a program on PATH."""
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


@substitution
def PythonExpression(self, context, expression: Text, python_modules: Any = ("math",)) -> str:
    """The value of a Python expression; the names of `math` are at hand in it."""
    modules = [each.perform(context) for each in normalize(python_modules)]
    names = {name: importlib.import_module(name) for name in modules}
    try:
        return str(eval(expression, {}, vars(math) | names if "math" in names else names))
    except Exception as error:
        text = f"cannot evaluate the Python expression [{expression}]: {error}"
        raise SubstitutionFailure(text) from error


@substitution
def NotSubstitution(self, context, value: Truth) -> str:
    """`true` if the value is false."""
    return _text(context, not value)


@substitution
def AndSubstitution(self, context, left: Truth, right: Truth) -> str:
    """`true` if both sides are."""
    return _text(context, left and right)


@substitution
def OrSubstitution(self, context, left: Truth, right: Truth) -> str:
    """`true` if one of the sides is."""
    return _text(context, left or right)


@substitution
def EqualsSubstitution(self, context, left: Any, right: Any) -> str:
    """`true` if both sides are equal: as booleans, as numbers, or else as text."""
    flags = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}
    sides = [_text(context, side) for side in (left, right)]
    if all(side.lower() in flags for side in sides):
        return _text(context, flags[sides[0].lower()] == flags[sides[1].lower()])
    try:
        return _text(context, math.isclose(*(float(side) for side in sides)))
    except ValueError:
        return _text(context, sides[0] == sides[1])


@substitution
def IfElseSubstitution(self, context, condition: Truth, if_value: Any = "", else_value: Any = ""):
    """One of two texts, by a condition."""
    return _text(context, if_value if condition else else_value)
