"""Parameters of nodes: single values with a type, files, and dictionaries of values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from launch import LaunchContext
from launch.arguments import Text
from launch.utilities import (
    is_substitution,
    normalize_to_list_of_substitutions,
    perform_substitutions,
    perform_typed_substitution,
)


class ParameterValue:
    """A value; `value_type` says how the text of substitutions is read, None: as YAML."""

    def __init__(self, value: Any, *, value_type: Any = None) -> None:
        plain = value_type in (bool, int, float, str) and not is_substitution(value)
        if plain and not isinstance(value, value_type):
            raise TypeError(f"expected a parameter of type {value_type.__name__}, got {value!r}")
        self.value, self.value_type = value, value_type

    def evaluate(self, context: LaunchContext) -> Any:
        """Return the value."""
        return perform_typed_substitution(context, self.value, self.value_type)


class ParameterFile:
    """A YAML file of parameters."""

    def __init__(self, param_file: Text, *, allow_substs: bool = False) -> None:
        if allow_substs:
            raise ImportError("ParameterFile: allow_substs needs the package launch_ros of ROS 2")
        self.param_file = param_file


def evaluate_value(context: LaunchContext, name: str, value: Any) -> Any:
    """Return a parameter's value; the text of substitutions is read as YAML.

    Raises:
        TypeError: it is no bool, int, float, str or list of one of them.
    """
    value = value if isinstance(value, ParameterValue) else ParameterValue(value)
    try:
        value = value.evaluate(context)
    except ValueError as error:
        raise TypeError(f"parameter '{name}': {error}") from None
    if isinstance(value, list):
        kinds = {type(item) for item in value}
        if kinds == {int, float}:
            return [float(item) for item in value]
        if len(kinds) == 1 and kinds <= {bool, int, float, str}:
            return value
    elif isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"parameter '{name}': expected a bool, int, float, str or a list of one of them, "
        f"got {value!r}"
    )


def evaluate_dictionary(
    context: LaunchContext, values: Mapping[Any, Any], prefix: str = ""
) -> dict[str, Any]:
    """Return a dictionary of parameters with all values known and nested names joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        subs = normalize_to_list_of_substitutions(key)
        name = prefix + perform_substitutions(context, subs)
        if isinstance(value, Mapping):
            flat |= evaluate_dictionary(context, value, f"{name}.")
        else:
            flat[name] = evaluate_value(context, name, value)
    return flat


def check_file(path: str) -> None:
    """Raise RuntimeError if a parameter file is not YAML of nodes with `ros__parameters`."""
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RuntimeError(f"parameter file '{path}': {' '.join(str(error).split())}") from None

    def holds_parameters(node: Any) -> bool:
        below = node.values() if isinstance(node, dict) else ()
        return bool(below) and ("ros__parameters" in node or any(map(holds_parameters, below)))

    if content is not None and not holds_parameters(content):
        raise RuntimeError(f"parameter file '{path}': expected NODE: ros__parameters: NAME: VALUE")
