"""Merging rows that belong to the same instants."""

import numpy as np
import pytest

from multismolvla.control.action_queue import STRATEGIES, merge_strategy

OLD = np.full((4, 6), 1.0)
NEW = np.full((4, 6), 2.0)
AHEAD_S = np.array([0.0, 0.1, 0.2, 0.3])
COVERED = np.array([True, True, True, False])


def merged(name: str, **options) -> np.ndarray:
    strategy = merge_strategy(name, options.get("crossfade_s", 0.2))
    return strategy(OLD, NEW, COVERED, AHEAD_S)


def test_latest_only_takes_the_new_rows():
    assert (merged("latest_only") == NEW).all()


def test_crossfade_moves_linearly_from_old_to_new():
    np.testing.assert_allclose(merged("crossfade")[:, 0], [1.0, 1.5, 2.0, 2.0])


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_inputs_stay_as_they_are(name):
    merged(name)[:] = 9.0
    assert (OLD == 1.0).all() and (NEW == 2.0).all()


def test_an_unknown_strategy_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'mean'.*latest_only, crossfade"):
        merge_strategy("mean", 0.2)


def test_a_crossfade_needs_a_time():
    with pytest.raises(ValueError, match="crossfade_s"):
        merge_strategy("crossfade", 0.0)
