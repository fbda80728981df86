"""Which scenes a model has learned from, so that none of them is ever used to judge it."""

from __future__ import annotations

from collections.abc import Iterable

from multismolvla.data.cache import TrainingCache


def data_seeds(caches: Iterable[TrainingCache]) -> dict[str, list[list[int]]]:
    """Folder of each cache -> first and last seed of every unbroken run of seeds in it.

    Recordings of a robot have none.
    """
    return {
        str(cache.folder): seed_ranges(
            episode["meta"]["seed"]
            for episode in cache.episodes
            if "seed" in episode.get("meta", {})
        )
        for cache in caches
    }


def seed_ranges(seeds: Iterable[int]) -> list[list[int]]:
    """[5, 3, 4, 9, 4] -> [[3, 5], [9, 9]]."""
    ranges: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if ranges and seed == ranges[-1][1] + 1:
            ranges[-1][1] = seed
        else:
            ranges.append([seed, seed])
    return ranges
