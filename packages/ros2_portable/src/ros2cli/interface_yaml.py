"""Messages as YAML and back."""

import re
from typing import Any

import numpy as np
import yaml
from ros2cli.cli import CommandError
from ros2cli.graph import import_interface
from rosidl_parser.definition import AbstractNestedType, NamespacedType

LONG = 128  # items or characters: what is longer is cut unless it is wanted whole
_FIELD_ERRORS = (AssertionError, AttributeError, OverflowError, TypeError, ValueError)


def to_plain(value: Any, length: int | None = None, no_arr: bool = False, kind: str = "") -> Any:
    """Return a message or field as dicts, lists and scalars; `length` cuts arrays and strings."""
    if hasattr(value, "get_fields_and_field_types"):
        types = value.get_fields_and_field_types()
        return {n: to_plain(getattr(value, n), length, no_arr, types[n]) for n in types}
    if isinstance(value, bytes):
        value = value.decode("latin-1")  # A ROS byte, which upstream shows as a short text.
    if not hasattr(value, "__len__"):
        return value.item() if isinstance(value, np.generic) else value
    cut = length is not None and len(value) > length
    if isinstance(value, str):
        return value[:length] + "..." if cut else value
    if no_arr:
        if element := re.match(r"sequence<(.*?)(, \d+)?>$", kind):
            return f"<sequence type: {element[1]}, length: {len(value)}>"
        return f"<array type: {kind}>"
    plain = [to_plain(item, length, no_arr) for item in (value[:length] if cut else value)]
    return [*plain, "..."] if cut else plain


def to_yaml(plain: Any) -> str:
    """Return plain values as YAML that ends in a newline."""
    if not isinstance(plain, dict | list):
        return f"{plain}\n"
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(plain, Dumper=dumper, sort_keys=False, width=2**31 - 1, allow_unicode=True)


def select_field(msg: Any, path: str) -> Any:
    """Return `header.stamp` or `position[2]` of a message; CommandError if there is none."""
    value = msg
    try:
        for name in re.findall(r"\w+", path):
            value = value[int(name)] if name.isdigit() else getattr(value, name)
    except (AttributeError, IndexError, TypeError):
        raise CommandError(f"{type(msg).__name__} has no field '{path}'") from None
    return value


def from_yaml(text: str, interface: type) -> Any:
    """Return a message filled from a YAML mapping; CommandError for what does not fit."""
    try:
        return _filled(interface(), yaml.safe_load(text) or {})
    except (*_FIELD_ERRORS, yaml.YAMLError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CommandError(f"no {interface.__name__} can be made of {text!r}: {reason}") from None


def _filled(msg: Any, values: Any) -> Any:
    kind = type(msg).__name__
    if not isinstance(values, dict):
        raise ValueError(f"expected {{field: value}} for {kind}, got {values!r}")
    types = dict(zip(msg.get_fields_and_field_types(), msg.SLOT_TYPES, strict=True))
    for name, value in values.items():
        if name not in types:
            raise AttributeError(f"{kind} has no field '{name}'; it has {', '.join(types)}")
        setattr(msg, name, _converted(getattr(msg, name), types[name], value))
    return msg


def _converted(current: Any, slot: Any, value: Any) -> Any:
    """Return `value` as what a field of type `slot` takes."""
    if isinstance(slot, NamespacedType):
        return _filled(current, value)
    if isinstance(slot, AbstractNestedType):
        if isinstance(current, np.ndarray):
            return np.array(value, current.dtype)
        element = slot.value_type
        if isinstance(element, NamespacedType):
            cls = import_interface("/".join(element.namespaced_name()), "msg")
            return [_filled(cls(), item) for item in value]
        floats = getattr(element, "typename", "") in ("float", "double")
        return [float(item) for item in value] if floats else value
    if isinstance(current, bytes):
        return bytes([value]) if isinstance(value, int) else value.encode("latin-1")
    # An int in a float field would arrive as garbage.
    return float(value) if isinstance(current, float) else value
