"""How the rows of a new chunk meet the rows still queued from the old one.

Pure functions on rows that belong to the same instants. `old` is what the queue would have done at
each instant; where `covered` is False the old chunk had already ended and `old` is its last target,
held. Nothing here knows about clocks or locks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

# (old (K, J), new (K, J), covered (K,) bool, ahead_s (K,) seconds from now) -> merged (K, J)
MergeStrategy = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]

# LeRobot's `weighted_average` gives the old chunk 0.3 and the new one 0.7
# (lerobot/async_inference/configs.py).
OLD_WEIGHT = 0.3


def latest_only(
    old: np.ndarray, new: np.ndarray, covered: np.ndarray, ahead_s: np.ndarray
) -> np.ndarray:
    """The new chunk replaces the old one at once. The setpoint may step."""
    return new.copy()


def weighted_average(
    old: np.ndarray, new: np.ndarray, covered: np.ndarray, ahead_s: np.ndarray
) -> np.ndarray:
    """Average where both chunks have a target, the new chunk elsewhere. Halves no step fully."""
    return np.where(covered[:, None], OLD_WEIGHT * old + (1.0 - OLD_WEIGHT) * new, new)


def crossfade(
    old: np.ndarray, new: np.ndarray, covered: np.ndarray, ahead_s: np.ndarray, *, fade_s: float
) -> np.ndarray:
    """Move linearly from the old chunk to the new one over `fade_s`. The setpoint never steps.

    An old chunk that ends within the fade is continued by its last target: dropping it there would
    make the very step that the fade is for.
    """
    weight = np.clip(ahead_s / fade_s, 0.0, 1.0)[:, None]
    return (1.0 - weight) * old + weight * new


STRATEGIES: tuple[str, ...] = ("latest_only", "weighted_average", "crossfade")


def merge_strategy(name: str, crossfade_s: float) -> MergeStrategy:
    """Return the strategy of that name.

    Raises:
        ValueError: unknown name, or a crossfade time that is not positive.
    """
    if name == "latest_only":
        return latest_only
    if name == "weighted_average":
        return weighted_average
    if name != "crossfade":
        raise ValueError(f"merge is '{name}'; expected one of {', '.join(STRATEGIES)}")
    if not crossfade_s > 0:
        raise ValueError(f"crossfade_s is {crossfade_s}; expected a positive time in seconds")
    return partial(crossfade, fade_s=crossfade_s)
