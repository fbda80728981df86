"""The git revision of the code, and the history of a checkpoint."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from multismolvla.data.cache import CacheError, TrainingCache
from multismolvla.policy.checkpoint import CheckpointError, resolve
from multismolvla.training.data_seeds import data_seeds


def git_says(*arguments: str) -> str:
    """Output of `git arguments...` in this package's folder; `unknown` outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parents[1]), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip() or "unknown"


# What a checkpoint was trained from: code, data and earlier checkpoints.

TRAINING_FILE = "training.json"
# Keys of `recipe.model` that name a checkpoint to start from; `eyes`: former name of `encoder`.
BEGINNINGS = ("start", "encoder", "eyes")


class ProvenanceError(ValueError):
    """It is not known how the checkpoint was trained; one line."""


def whole_history(folder: str | Path) -> dict[str, Any]:
    """The `training.json` of a checkpoint, and under `before` those of earlier checkpoints.

    The seeds that an older trainer did not write are filled in from caches that are still there.

    Raises:
        ProvenanceError: the checkpoint has no `training.json`, or a damaged one.
    """
    path = Path(folder) / TRAINING_FILE
    try:
        history = json.loads(path.read_text())
        recipe, phase = history["recipe"], history["phase"]
    except OSError as error:
        raise ProvenanceError(
            f"{path}: {error.strerror}; expected the folder of a phase that multismolvla train left"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise ProvenanceError(f"{path}: not what multismolvla train writes: {error!r}") from None
    if not isinstance(history.get("data_seeds"), dict):
        history["data_seeds"] = data_seeds(_caches(recipe, phase))
    if "before" not in history:
        history["before"] = before(recipe)
    return history


def before(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The histories of what a run of the recipe begins with, by the key that names it.

    A run keeps them with its weights: the folders may be trained again once it is done.
    """
    sources = {key: recipe["model"].get(key) for key in BEGINNINGS}
    return {key: _history_or_name(source) for key, source in sources.items() if source}


def without_places(value: Any) -> Any:
    """The same tree, in which an absolute path is its last part: the rest is private."""
    if isinstance(value, Mapping):
        return {without_places(key): without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_places(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value


def _caches(recipe: Mapping[str, Any], phase: str) -> Iterator[TrainingCache]:
    """Those of the run and of its phases up to this one that are still there."""
    phases = recipe["phases"]
    last = next(i for i, each in enumerate(phases) if each["name"] == phase)
    names = [recipe["data"]["cache"], *(each["cache"] for each in phases[: last + 1])]
    for name in dict.fromkeys(filter(None, names)):
        with contextlib.suppress(CacheError):
            yield TrainingCache(name)


def _history_or_name(source: str) -> dict[str, Any]:
    try:
        return whole_history(resolve(source))
    except (CheckpointError, ProvenanceError):
        return {"checkpoint": source}
