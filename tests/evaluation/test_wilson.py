import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.evaluation.wilson import wilson_interval


def test_matches_published_values():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263 and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_contains_the_rate_and_stays_in_the_unit_interval(counts):
    successes, trials = counts
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1


@pytest.mark.parametrize("counts", [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError):
        wilson_interval(*counts)
