"""Frames of a training cache as scenes: for a world, or a robot, whose labels were recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multismolvla.data.cache import TrainingCache
from multismolvla.modalities.conversion import from_counts
from multismolvla.modalities.registry import modality_of
from multismolvla.segmentation.network import INPUT_KINDS
from multismolvla.training.segmentation.scenes import Views

LABELS_OF_VIEW = "segmentation"


class CachedScenes:
    """A seeded sequence of the samples of a split, in a new order in every pass.

    Raises:
        ValueError: the cache has no labels, a view of it lacks an input, or the split is empty.
    """

    def __init__(self, folder: str | Path, split: str, seed: int) -> None:
        self._cache = TrainingCache(folder)
        self._samples = self._cache.split(split)
        views = [
            name.rpartition("/")[0]
            for name in self._cache.streams
            if name.rpartition("/")[2] == LABELS_OF_VIEW
        ]
        self._streams = {
            view: {
                kind: f"{view}/{kind}" if view else kind for kind in (*INPUT_KINDS, LABELS_OF_VIEW)
            }
            for view in views
        }
        wanted = [name for kinds in self._streams.values() for name in kinds.values()]
        missing = [name for name in wanted if name not in self._cache.streams]
        if not wanted or missing or not len(self._samples):
            lacks = f"no stream '{missing[0]}'" if missing else "no labelled frames"
            raise ValueError(
                f"{folder}: has {lacks} to learn from in its {split} split; expected views with "
                f"{', '.join(INPUT_KINDS)} and {LABELS_OF_VIEW}"
            )
        self._rng = np.random.default_rng(seed)
        self._order: list[int] = []

    def __len__(self) -> int:
        return len(self._samples)

    def next(self) -> Views:
        """Frames and labels of the next sample, by view and kind."""
        if not self._order:
            self._order = self._rng.permutation(self._samples).tolist()
        sample = self._order.pop()
        return {
            view: {
                kind: from_counts(modality_of(name), self._cache.array(name)[sample])
                for kind, name in kinds.items()
            }
            for view, kinds in self._streams.items()
        }

    def close(self) -> None:
        """Nothing: there are no cameras."""
