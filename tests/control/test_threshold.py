"""When the next chunk is due."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.control.action_queue import QueueLevel
from multismolvla.control.inference import SPARE_S, RefillThreshold, parse_threshold

PERIOD_S = 1 / 30


def level(actions: int, chunk_size: int = 50) -> QueueLevel:
    return QueueLevel(actions, actions * PERIOD_S, chunk_size, PERIOD_S)


def test_the_fraction_is_latency_over_frame_time_over_chunk_size_with_a_margin():
    threshold = RefillThreshold()
    threshold.measured(0.5)
    assert threshold.fraction(50, PERIOD_S) == pytest.approx((1.5 * 0.5 + SPARE_S) * 30 / 50)


def test_the_test_is_strictly_less():
    threshold = RefillThreshold(fixed=0.5)
    assert not threshold.due(level(25))
    assert threshold.due(level(24))


def test_an_empty_queue_is_always_due():
    assert RefillThreshold(fixed=0.01).due(QueueLevel(0, 0.0, 0, 0.0))


def test_with_nothing_measured_the_queue_is_kept_as_full_as_it_gets():
    assert RefillThreshold().due(level(49))
    assert not RefillThreshold().due(level(50))


def test_a_slow_inference_is_believed_at_once_and_forgotten_slowly():
    threshold = RefillThreshold()
    threshold.measured(0.1)
    threshold.measured(1.0)
    assert threshold.latency_s == 1.0
    threshold.measured(0.1)
    assert 0.8 < threshold.latency_s < 1.0


def test_must_go_when_the_queue_may_not_outlast_an_inference():
    threshold = RefillThreshold(fixed=0.9)
    threshold.measured(0.5)
    assert threshold.must_go(level(25))
    assert not threshold.must_go(level(26))


def test_what_the_latency_makes_due_is_never_left_out():
    threshold = RefillThreshold()
    threshold.measured(0.4)
    assert all(threshold.must_go(level(n)) for n in range(50) if threshold.due(level(n)))


@given(st.lists(st.floats(0.0, 100.0), max_size=20), st.integers(1, 200))
def test_the_fraction_is_a_fraction(latencies, chunk_size):
    threshold = RefillThreshold()
    for latency in latencies:
        threshold.measured(latency)
    assert 0.0 <= threshold.fraction(chunk_size, PERIOD_S) <= 1.0


@pytest.mark.parametrize(
    ("given_value", "expected"), [("auto", None), (0.5, 0.5), ("0.7", 0.7), (1, 1.0)]
)
def test_parameter_values(given_value, expected):
    assert parse_threshold(given_value) == expected


@pytest.mark.parametrize("given_value", [0.0, 1.5, "often", -1, True, float("nan")])
def test_bad_parameter_values_are_one_clear_line(given_value):
    with pytest.raises(ValueError, match=r"queue_threshold is .*; expected 'auto' or a number"):
        parse_threshold(given_value)


@settings(max_examples=40, deadline=None)
@given(
    latency_ticks=st.floats(0.1, 18.5),
    jitter=st.lists(st.floats(0.85, 1.2), min_size=1, max_size=40),
)
def test_a_policy_slower_than_the_loop_never_starves_it(latency_ticks, jitter):
    """Virtual time: chunk 50, observations 2 frames old, inference up to 18.5 frames and a fifth:
    twice 22.2 and 2 are just less than 50. The slowest takes 1.41 times as long as the fastest,
    less than the margin of 1.5, so that one slower than all before comes in time, too."""
    threshold, now, stamp, done_at, asked = RefillThreshold(), 0.0, None, None, 0.0
    chunk_start, inferences, starved = None, 0, 0
    for _ in range(1500):
        now += 0.5
        if done_at is not None and now >= done_at:
            chunk_start, done_at = stamp, None
            threshold.measured((now - asked) * PERIOD_S)
        left = 0 if chunk_start is None else max(0, int(chunk_start + 50 - now + 0.999))
        starved += chunk_start is not None and left == 0
        if done_at is None and threshold.due(level(left)):
            stamp, asked = now - 2.0, now
            done_at = now + latency_ticks * jitter[inferences % len(jitter)]
            inferences += 1
    assert starved == 0


@given(fixed=st.floats(0.01, 1.0), latency_s=st.floats(0.001, 10.0), scale=st.floats(0.1, 1.0))
def test_asking_less_often_never_asks_later_than_the_latency_allows(fixed, latency_s, scale):
    relaxed, needed = RefillThreshold(fixed), RefillThreshold(None)
    for threshold in (relaxed, needed):
        threshold.measured(latency_s)
    assert relaxed.fraction(50, 0.05) == fixed
    relaxed.scale = scale
    fraction = relaxed.fraction(50, 0.05)
    assert scale * fixed <= fraction <= fixed
    assert fraction >= min(fixed, needed.fraction(50, 0.05))
