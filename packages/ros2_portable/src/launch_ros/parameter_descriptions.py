"""Parameters of nodes: values with a type, dictionaries of values, and files."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from launch.launch_context import LaunchContext
from launch.substitutions import Substitution, as_text

from ros2_portable import outside

__getattr__ = outside(__name__)
_SCALARS = (bool, int, float, str)


@dataclass(eq=False)
class ParameterValue:
    """A value; `value_type` says how the text of substitutions is read, None: as YAML."""

    value: Any
    _: KW_ONLY
    value_type: Any = None


def evaluate_value(context: LaunchContext, name: str, value: Any) -> Any:
    """Return a parameter's value; the text of substitutions is read as YAML or as its type.

    Raises:
        TypeError: it is no bool, int, float, str or list of one of them, or not of its type.
    """
    value = value if isinstance(value, ParameterValue) else ParameterValue(value)
    known = _read(context, value.value, value.value_type)
    items = known if isinstance(known, list) else [known]
    kinds = {type(item) for item in items}
    if kinds == {int, float}:
        return [float(item) for item in items]
    wanted = [value.value_type] if value.value_type in _SCALARS else _SCALARS
    if len(kinds) != 1 or not kinds <= set(wanted):
        names = ", ".join(each.__name__ for each in wanted)
        raise TypeError(f"parameter '{name}': expected {names} or a list of one, got {known!r}")
    return known


def _read(context: LaunchContext, value: Any, kind: Any) -> Any:
    """Return `value` with its substitutions read as `kind`; as it is where that is impossible."""
    parts = value if isinstance(value, list | tuple) else [value]
    is_text = all(isinstance(part, Substitution | str) for part in parts)
    if not (is_text and any(isinstance(part, Substitution) for part in parts)):
        [item_kind] = get_args(kind) or [None]
        return [_read(context, each, item_kind) for each in parts] if parts is value else value
    text = as_text(context, value)
    try:
        # YAML has null for no text; to upstream it is text like any other.
        return kind(text) if kind in (str, int, float) else yaml.safe_load(text or "''")
    except (ValueError, yaml.YAMLError):
        return text


def evaluate_dictionary(
    context: LaunchContext, values: Mapping[Any, Any], prefix: str = ""
) -> dict[str, Any]:
    """Return a dictionary of parameters with all values known and nested names joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = prefix + as_text(context, key)
        if isinstance(value, Mapping):
            flat |= evaluate_dictionary(context, value, f"{name}.")
        else:
            flat[name] = evaluate_value(context, name, value)
    return flat


def check_file(path: str) -> None:
    """Raise RuntimeError if a file is not YAML of parameters: each node would refuse it forever."""
    try:
        text = Path(path).read_text()
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RuntimeError(f"parameter file '{path}': {' '.join(str(error).split())}") from None
    if content is not None and "ros__parameters" not in text:
        raise RuntimeError(f"parameter file '{path}': expected NODE: ros__parameters: NAME: VALUE")
