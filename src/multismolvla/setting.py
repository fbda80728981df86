"""A setting: a field of a frozen dataclass that knows its range, unit, choices and meaning.

One declaration serves the parameters of a node, the files under `config/` and the commands that run
the stack without ROS: `nodes/parameters.py` and `stack/settings.py` read the fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, TypeVar

_KEY = "setting"
_TYPES = {bool: "true or false", int: "a whole number", float: "a number with a point", str: "text"}
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Setting:
    """What is known of one setting.

    Attributes:
        field: its name in the dataclass.
        name: its key in files, and its name as a parameter of a node.
        default: its type is the type that is expected.
        description: one sentence.
        minimum, maximum: inclusive range of a number, or None for both.
        choices: the allowed texts; none allows any.
        unit: of a number, "" for none.
        parse: makes the value of what was given, for a setting of more than one type; raises
            ValueError.
    """

    field: str
    name: str
    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    parse: Callable[[Any], Any] | None = None

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        words = _TYPES[type(self.default)]
        if self.minimum is not None:
            words += f" in [{self.minimum}, {self.maximum}]"
        return f"{words} {self.unit}".rstrip()

    def check(self, value: Any) -> Any:
        """Return the value of a setting.

        Raises:
            ValueError: wrong type, out of range or none of the choices; one line.
        """
        if self.parse is not None:
            return self.parse(value)
        if (
            type(value) is not type(self.default)
            or (self.choices and value not in self.choices)
            # Written so that NaN is out of range.
            or (self.minimum is not None and not self.minimum <= value <= self.maximum)
        ):
            raise ValueError(f"{self.name} is {value!r}; expected {self.expected}")
        return value


def setting(
    default: Any,
    description: str,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    choices: tuple[str, ...] = (),
    unit: str = "",
    name: str = "",
    parse: Callable[[Any], Any] | None = None,
) -> Any:
    """A field of a settings dataclass; see `Setting`. `name` is the field's own if not given."""
    given = (description, minimum, maximum, choices, unit, parse)
    return field(default=default, metadata={_KEY: (name, given)})


def settings_of(defaults: object) -> Iterator[Setting]:
    """The settings of a dataclass, whose values are the defaults.

    A limit that is infinite is not judged, so it is no setting of this instance.
    """
    for item in fields(defaults):
        default = getattr(defaults, item.name)
        unlimited = isinstance(default, float) and math.isinf(default)
        if _KEY in item.metadata and not unlimited:
            name, given = item.metadata[_KEY]
            yield Setting(item.name, name or item.name, default, *given)


def with_values(defaults: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with the values given by key; keys of other settings are left alone.

    Raises:
        ValueError: a value is wrong; one line that names key, value and what was expected.
    """
    known = [item for item in settings_of(defaults) if item.name in values]
    return replace(defaults, **{item.field: item.check(values[item.name]) for item in known})


def reject_unknown_keys(values: Iterable[str], known: Iterable[Setting]) -> None:
    """Refuse a misspelt key, or one with another unit at its end.

    Raises:
        ValueError: one line that names the key and what was expected.
    """
    by_name = {item.name: item for item in known}
    for key in values:
        if key in by_name:
            continue
        stem = str(key).rpartition("_")[0]
        same = [name for name in by_name if stem and name.rpartition("_")[0] == stem]
        near = (same or get_close_matches(str(key), by_name, 1) or [""])[0]
        if near:
            unit = by_name[near].unit
            raise ValueError(f"unknown key '{key}'; expected '{near}'{unit and f' in {unit}'}")
        raise ValueError(f"unknown key '{key}'; expected one of {', '.join(by_name) or 'none'}")
