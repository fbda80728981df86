"""Which streams a sample loses in training, and how.

Half of the losses are hard: the stream is masked, as one that the health monitor has given up. Half
are soft: the frame is damaged without a mask. Dropped together are one stream, a kind of image
in all views, or a camera mount; that leaves every mixture, down to a single modality.
At least one stream of a sample stays whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from multismolvla.streams import Stream
from multismolvla.training.policy.recipe import DropoutRecipe

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


class Cut(NamedTuple):
    """A partition of the streams into units that are dropped together.

    Attributes:
        weight: how often this partition is drawn, relative to the others.
        unit: (S,) the unit of each stream.
        alone: (U,) how likely each unit is the one that is left alone; sum 1.
    """

    weight: float
    unit: np.ndarray
    alone: np.ndarray


def cuts(streams: Sequence[Stream], recipe: DropoutRecipe) -> list[Cut]:
    """The partitions of the streams; none has a single unit."""
    found = []
    for weight, names in (
        (recipe.by_stream, [stream.name for stream in streams]),
        (recipe.by_modality, [stream.kind for stream in streams]),
        (recipe.by_view, [stream.view for stream in streams]),
    ):
        order = list(dict.fromkeys(names))
        if weight > 0 and len(order) > 1:
            alone = np.array([float(recipe.alone.get(name, 1.0)) for name in order])
            unit = np.array([order.index(name) for name in names])
            found.append(Cut(weight, unit, alone / alone.sum()))
    return found


def draw_hard(
    rng: np.random.Generator, streams: Sequence[Stream], recipe: DropoutRecipe, rate: float
) -> np.ndarray:
    """Streams (S,) bool that a group of samples loses; never all."""
    partitions = cuts(streams, recipe)
    lost = np.zeros(len(streams), bool)
    probability = rate * (1.0 - recipe.soft_share)
    if not partitions or probability == 0.0:
        return lost
    weights = np.array([each.weight for each in partitions])
    cut = partitions[rng.choice(len(partitions), p=weights / weights.sum())]
    count = len(cut.alone)
    # The mean stays `probability`: draws that keep one unit lose more, so the others lose less.
    alone = ALONE * probability
    if rng.random() < alone:
        gone = np.arange(count) != rng.choice(count, p=cut.alone)
    else:
        rest = (probability - alone * (count - 1) / count) / (1.0 - alone)
        gone = rng.random(count) < np.clip(rest, 0.0, 1.0)
        if gone.all():
            gone[rng.choice(count, p=cut.alone)] = False
    return gone[cut.unit]


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
