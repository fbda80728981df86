"""From a YAML file to a recipe, every key and value checked."""

from __future__ import annotations

import contextlib
import dataclasses
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from multismolvla.training.policy.recipe import Recipe, RecipeError


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        overrides: `key=value`, keys with dots, `phases.0.steps=100`; values are YAML.

    Raises:
        RecipeError: a file that cannot be read, an unknown key or a wrong value.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text()) or {}
        for override in overrides:
            _override(content, override)
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the recipe: {error.strerror}") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"{path}: not valid YAML: {reason}") from None
    try:
        return _parse(Recipe, content, "")
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """Plain values, for files and fingerprints."""
    return dataclasses.asdict(recipe)


def changed(config: Any, overrides: Mapping[str, Any], key: str = "model.overrides") -> Any:
    """A dataclass tree with some values replaced.

    Raises:
        RecipeError: there is no such key, or its value does not do.
    """
    names = {f.name for f in dataclasses.fields(config)}
    values = {}
    for name, value in overrides.items():
        if name not in names:
            raise RecipeError(f"unknown key '{key}.{name}'; expected {', '.join(sorted(names))}")
        old = getattr(config, name)
        if dataclasses.is_dataclass(old) and isinstance(value, Mapping):
            value = changed(old, value, f"{key}.{name}")
        elif isinstance(value, bool) is not isinstance(old, bool) or not isinstance(
            value, (int, float) if isinstance(old, float) else type(old)
        ):
            raise RecipeError(f"{key}.{name} is {value!r}; expected something like {old!r}")
        values[name] = value
    return dataclasses.replace(config, **values)


def _override(content: Any, override: str) -> None:
    key, separator, text = override.partition("=")
    *parents, last = key.split(".")
    if not separator:
        raise RecipeError(f"'{override}' is no override; expected key=value")
    try:
        for parent in parents:
            content = (
                content[int(parent)]
                if isinstance(content, list)
                else content.setdefault(parent, {})
            )
        content[int(last) if isinstance(content, list) else last] = yaml.safe_load(text)
    except (AttributeError, IndexError, ValueError, TypeError):
        raise RecipeError(f"'{override}': the recipe has no place for it") from None


def _parse(kind: Any, value: Any, key: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{key} is {value!r}; expected a list")
        return tuple(_parse(arguments[0], item, f"{key}.{i}") for i, item in enumerate(value))
    if (dataclasses.is_dataclass(kind) or origin is Mapping) and not isinstance(value, dict):
        raise RecipeError(f"{key or 'the file'} is {value!r}; expected keys and values")
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        for name in value:
            if name not in hints:
                raise RecipeError(f"unknown key '{_join(key, name)}'; expected {', '.join(hints)}")
        try:
            return kind(**{k: _parse(hints[k], v, _join(key, k)) for k, v in value.items()})
        except TypeError:
            raise RecipeError(f"{_join(key, 'name')} is missing") from None
        except RecipeError as error:
            own = str(error) if not key or str(error).startswith(key) else f"{key}.{error}"
            raise RecipeError(own) from None
    if origin is Mapping:
        return value
    accepted = (int, float) if kind is float else kind
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as a text
        with contextlib.suppress(ValueError):
            value = float(value)
    if not isinstance(value, accepted) or isinstance(value, bool) is not (kind is bool):
        raise RecipeError(f"{key} is {value!r}; expected {kind.__name__}")
    return kind(value)


def _join(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)
