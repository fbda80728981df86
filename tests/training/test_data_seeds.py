"""The seeds of a run's data."""

import pytest
from synthetic_cache import write_cache

from multismolvla.data.cache import TrainingCache
from multismolvla.training.data_seeds import data_seeds, seed_ranges


@pytest.mark.parametrize(
    ("seeds", "ranges"),
    [
        ([], []),
        ([7], [[7, 7]]),
        ([5, 3, 4, 9, 4], [[3, 5], [9, 9]]),
        ([1, 3, 5], [[1, 1], [3, 3], [5, 5]]),
    ],
)
def test_seeds_that_follow_each_other_are_one_range(seeds, ranges):
    assert seed_ranges(seeds) == ranges


def test_each_cache_tells_its_own(tmp_path):
    one, two = (
        TrainingCache(write_cache(tmp_path / name, episodes=3, length=2, streams=(), held_out=1))
        for name in ("one", "two")
    )
    for episode in two.episodes[:2]:
        del episode["meta"]["seed"]
    two.episodes[2]["meta"]["seed"] = 40
    assert data_seeds([one, two]) == {
        str(tmp_path / "one"): [[0, 2]],
        str(tmp_path / "two"): [[40, 40]],
    }
