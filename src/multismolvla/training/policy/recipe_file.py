"""From a YAML file to a recipe, every key and value checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from multismolvla.checked_file import load_checked, yaml_value
from multismolvla.training.policy.recipe import Recipe, RecipeError


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        overrides: `key=value`, keys with dots, `phases.0.steps=100`; values are YAML.

    Raises:
        RecipeError: a file that cannot be read, an unknown key or a wrong value.
    """

    def parse(text: str) -> Any:
        content = yaml_value(text) or {}
        for override in overrides:
            _override(content, override)
        return content

    return load_checked(Path(path), Recipe, RecipeError, "the recipe", parse)


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
        raise RecipeError(f"'{override}' is not an override; expected key=value")
    try:
        for parent in parents:
            content = (
                content[int(parent)]
                if isinstance(content, list)
                else content.setdefault(parent, {})
            )
        content[int(last) if isinstance(content, list) else last] = yaml_value(text)
    except (AttributeError, IndexError, ValueError, TypeError):
        raise RecipeError(f"'{override}': the recipe has no such key") from None
