"""From what a launch description says to text and to typed values."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import yaml

from .arguments import Text
from .launch_context import LaunchContext
from .substitution import Substitution, TextSubstitution

SCALARS = (bool, int, float, str)


def normalize_to_list_of_substitutions(subs: Text) -> list[Substitution]:
    """Return text, a substitution or several of both as a list; TypeError for anything else."""
    if isinstance(subs, Substitution):
        return [subs]
    if isinstance(subs, str | Path):
        return [TextSubstitution(text=str(subs))]
    items = list(subs) if isinstance(subs, Iterable) else [None]
    if not all(isinstance(item, str | Path | Substitution) for item in items):
        raise TypeError(f"expected text or substitutions, got {subs!r} ({type(subs).__name__})")
    return [sub for item in items for sub in normalize_to_list_of_substitutions(item)]


def perform_substitutions(context: LaunchContext, subs: Iterable[Substitution]) -> str:
    """Return the texts of all substitutions, joined."""
    return "".join(sub.perform(context) for sub in subs)


def is_substitution(value: Any) -> bool:
    """Return whether `value` is a substitution, or texts and substitutions to be joined."""
    items = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(item, Substitution) for item in items) and all(
        isinstance(item, Substitution | str) for item in items
    )


def perform_typed_substitution(context: LaunchContext, value: Any, data_type: Any = None) -> Any:
    """Return `value`, its substitutions read as `data_type` (a scalar, List[it], or None: YAML).

    Raises:
        ValueError: the text does not read as that type.
    """
    item_type = next(iter(get_args(data_type)), None)
    if not is_substitution(value):
        if isinstance(value, list | tuple):
            return [perform_typed_substitution(context, item, item_type) for item in value]
        return value
    text = perform_substitutions(context, normalize_to_list_of_substitutions(value))
    try:
        if data_type in (str, int, float):
            return data_type(text)
        parsed = yaml.safe_load(text)
        items = parsed if isinstance(parsed, list) and data_type is not bool else [parsed]
        kinds = {type(item) for item in items}
        if kinds <= set([item_type or data_type] if data_type else SCALARS) and len(kinds) < 2:
            return parsed
    except (ValueError, yaml.YAMLError):
        pass  # Reported below, as any other text that does not fit.
    wanted = getattr(data_type, "__name__", "bool, int, float, str or a list of one of them")
    raise ValueError(f"cannot read '{text}' as {wanted}")
