"""From a file that people write to frozen dataclasses: every key and every value is checked.

pydantic judges, in its strict mode: nothing is converted but a whole number to a float and a list
to a tuple. What it finds first becomes one line with key, value and what was expected. Rules beyond
types belong into the `__post_init__` of the dataclass, as ValueErrors `key is value; expected ...`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from multismolvla.one_line import one_line

Kind = TypeVar("Kind")
# pydantic's names of errors.
_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "mapping_type": "keys and values",
    "dataclass_type": "keys and values",
}
_UNKNOWN = "unexpected_keyword_argument"


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 does; for 1.1 it is a text."""


_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def yaml_value(text: str) -> Any:
    """What a text in YAML says; ValueError, in one line, where it is none."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"not valid YAML: {one_line(error)}") from None


def json_value(text: str) -> Any:
    """What a text in JSON says; ValueError, in one line, where it is none."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except _Twice as error:
        raise ValueError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {error}") from None


class _Twice(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of an object in JSON; of two values under one key, json would drop the first in silence."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Twice(f"key '{twice}' is there {names.count(twice)} times; expected once")
    return content


def read_text(path: Path) -> str:
    """The text of a file that people write, with or without the mark that Windows puts first.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def load_checked(
    path: Path,
    kind: type[Kind],
    error: type[ValueError],
    what: str,
    parse: Callable[[str], Any] = yaml_value,
    complete: bool = False,
) -> Kind:
    """Read a file into a tree of dataclasses; see `checked`.

    Args:
        error: what is raised.
        what: the file in words, for errors: `the recipe`.
        parse: from the text of the file to plain values; raises ValueError.

    Raises:
        error: the file cannot be read or is wrong; one line that begins with its path.
    """
    try:
        return checked(kind, parse(read_text(path)), complete)
    except OSError as unreadable:
        raise error(f"{path}: cannot read {what}: {unreadable.strerror}") from None
    except ValueError as wrong:
        # A key or a value may have a line break in it.
        raise error(f"{path}: {one_line(wrong)}") from None


def checked(kind: type[Kind], content: Any, complete: bool = False) -> Kind:
    """A value of this type, a tree of dataclasses, from parsed YAML or JSON.

    Args:
        complete: refuse keys that are left out, even where there is a default.

    Raises:
        ValueError: an unknown or missing key or a wrong value; one line.
    """
    if complete:
        _require_all(kind, content, ())
    try:
        # As text, since a list of JSON becomes a tuple, which one of Python must not.
        (value,) = _adapter(kind).validate_json(json.dumps([content], default=str))
    except ValidationError as error:
        # A misspelt key explains a missing one.
        found = sorted(error.errors(), key=lambda entry: entry["type"] != _UNKNOWN)
        raise ValueError(_line(kind, found[0])) from None
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return value


@functools.cache
def _adapter(kind: type) -> TypeAdapter:
    # Through the list, because pydantic takes no options for a dataclass itself.
    return TypeAdapter(list[kind], config=ConfigDict(extra="forbid", strict=True))


def _line(kind: Any, found: Mapping[str, Any]) -> str:
    place = found["loc"][1:]
    if found["type"] == "value_error":
        own = str(found["ctx"]["error"])
        return f"{_name(place)}.{own}" if place else own
    if found["type"] == "missing":
        return f"missing key '{_name(place)}'"
    if found["type"] == _UNKNOWN:
        names = typing.get_type_hints(_type_at(kind, place[:-1]))
        return f"unknown key '{_name(place)}'; expected {', '.join(names)}"
    # What else pydantic can find says itself what is expected.
    expected = _EXPECTED.get(found["type"], " ".join(found["msg"].split()))
    return f"{_name(place) or 'the file'} is {found['input']!r}; expected {expected}"


def _name(place: tuple[str | int, ...]) -> str:
    """`streams[0].height`"""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).lstrip(".")


def _type_at(kind: Any, place: tuple[str | int, ...]) -> Any:
    """The type at a place of the tree."""
    for part in place:
        kind = _inner(kind, part)
    return kind


def _inner(kind: Any, part: str | int) -> Any:
    """The type of a field, an item or a value; of a choice, such as one with None, the first."""
    if dataclasses.is_dataclass(kind):
        kind = typing.get_type_hints(kind)[part]
    else:
        kind = typing.get_args(kind)[0 if isinstance(part, int) else -1]
    if type(None) in typing.get_args(kind):
        kind = typing.get_args(kind)[0]
    return kind


def _require_all(kind: Any, content: Any, place: tuple[str | int, ...]) -> None:
    if dataclasses.is_dataclass(kind) and isinstance(content, dict):
        for field in dataclasses.fields(kind):
            own = (*place, field.name)
            if field.name not in content:
                raise ValueError(f"missing key '{_name(own)}'")
            _require_all(_inner(kind, field.name), content[field.name], own)
    elif typing.get_origin(kind) is tuple and isinstance(content, list):
        for index, item in enumerate(content):
            _require_all(_inner(kind, index), item, (*place, index))
