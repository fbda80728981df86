"""The state at the instant of the images."""

import numpy as np

from multismolvla.control.policy_view import StateHistory


def history(*samples: tuple[int, float]) -> StateHistory:
    states = StateHistory(span_ns=100)
    for stamp_ns, value in samples:
        states.add(stamp_ns, np.full(6, value))
    return states


def test_between_two_samples_the_state_is_interpolated():
    np.testing.assert_allclose(history((0, 0.0), (10, 1.0)).at(3), 0.3)


def test_outside_of_the_samples_the_nearest_one_counts():
    states = history((50, 1.0), (60, 2.0))
    assert states.at(0)[0] == 1.0
    assert states.at(99)[0] == 2.0


def test_an_empty_history_has_no_state():
    assert history().at(0) is None
    assert history().latest() is None
    assert history().age_s(0) is None


def test_old_samples_are_forgotten():
    assert history((0, 0.0), (50, 1.0), (140, 2.0)).at(0)[0] == 1.0


def test_a_stamp_that_runs_backwards_drops_what_came_after_it():
    states = history((50, 1.0), (60, 2.0), (55, 3.0))
    assert states.latest()[0] == 3.0
    assert states.at(60)[0] == 3.0


def test_age_is_that_of_the_newest_sample():
    assert history((0, 0.0), (50, 1.0)).age_s(50 + 10**9) == 1.0
