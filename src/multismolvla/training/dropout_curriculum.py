"""Which streams a sample loses in training, and how.

Half of the losses are hard: the stream is masked, as one that the health monitor has given up. Half
are soft: the frame is damaged and nobody says so. What is lost as one is a stream, a kind of image
in all views, or a camera mount; that leaves every mixture, down to a single modality.
At least one stream of a sample stays whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multismolvla.streams import Stream
from multismolvla.training.recipe import DropoutRecipe

# Of the hard losses, so many (times the rate) leave one unit alone: drawn one by one, that all but
# one are lost is too rare to be learnt.
ALONE = 0.6


def rate_at(recipe: DropoutRecipe, progress: float) -> float:
    """Probability per stream at `progress` (0 to 1) of the phase."""
    if recipe.schedule == "none":
        return 0.0
    if recipe.schedule == "fixed":
        return recipe.rate
    return recipe.rate * min(1.0, progress / recipe.ramp)


def units(streams: Sequence[Stream], recipe: DropoutRecipe) -> list[tuple[float, np.ndarray]]:
    """Ways to cut the streams into what is lost as one: weight, unit of each stream (S,)."""
    ways = []
    for weight, names in (
        (recipe.by_stream, [stream.name for stream in streams]),
        (recipe.by_modality, [stream.kind for stream in streams]),
        (recipe.by_view, [stream.view for stream in streams]),
    ):
        order = list(dict.fromkeys(names))
        if weight > 0 and len(order) > 1:
            ways.append((weight, np.array([order.index(name) for name in names])))
    return ways


def draw_hard(
    rng: np.random.Generator, streams: Sequence[Stream], recipe: DropoutRecipe, rate: float
) -> np.ndarray:
    """Streams (S,) bool that a group of samples loses altogether; never all."""
    ways = units(streams, recipe)
    lost = np.zeros(len(streams), bool)
    probability = rate * (1.0 - recipe.soft_share)
    if not ways or probability == 0.0:
        return lost
    weights = np.array([weight for weight, _ in ways])
    unit = ways[rng.choice(len(ways), p=weights / weights.sum())][1]
    count = int(unit.max()) + 1
    # The mean stays `probability`: what the lonely draws lose more, the others lose less.
    alone = ALONE * probability
    if rng.random() < alone:
        gone = np.ones(count, bool)
    else:
        rest = (probability - alone * (count - 1) / count) / (1.0 - alone)
        gone = rng.random(count) < np.clip(rest, 0.0, 1.0)
    if gone.all():
        gone[rng.integers(count)] = False
    return gone[unit]


def draw_soft(
    rng: np.random.Generator, hard: np.ndarray, recipe: DropoutRecipe, rate: float
) -> np.ndarray:
    """Streams (B, S) bool that are damaged, given those (B, S) that are lost altogether.

    At least one stream of each sample is neither.
    """
    lost = rate * (1.0 - recipe.soft_share)
    probability = rate * recipe.soft_share / max(1.0 - lost, 1e-9)
    soft = (rng.random(hard.shape) < probability) & ~hard
    for row in np.flatnonzero((soft | hard).all(axis=1)):
        soft[row, rng.choice(np.flatnonzero(soft[row]))] = False
    return soft
