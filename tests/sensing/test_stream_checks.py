"""Frequency and stamps as diagnostics tools expect them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.sensing.health import State, StreamHealth
from multismolvla.sensing.stream_checks import frequency_check, stamp_check

PERIOD_NS = 10**9 // 15
START_NS = 10**18
RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 255, (8, 24, 32, 3), dtype=np.uint8)


def fed(stamps_ns, arrivals_ns) -> StreamHealth:
    health = StreamHealth("rgb", 15.0)
    for i, (stamp, arrival) in enumerate(zip(stamps_ns, arrivals_ns, strict=True)):
        health.on_frame(FRAMES[i % 8], stamp, arrival)
    return health


@given(st.floats(0, 100), st.floats(1, 60), st.floats(0.1, 1))
def test_a_frequency_is_good_from_its_least_share_on(rate_hz, nominal_hz, share):
    check = frequency_check(rate_hz, nominal_hz, share)
    if rate_hz == 0:
        assert check.state is State.LOST
    else:
        assert (check.state is State.OK) == (rate_hz >= share * nominal_hz)
    assert float(check.values["actual_hz"]) == pytest.approx(rate_hz, abs=0.0051)


def test_a_rate_that_is_not_a_number_counts_as_none():
    assert frequency_check(float("nan"), 15.0, 0.75).state is State.LOST


@settings(max_examples=20)
@given(st.floats(0, 0.9))
def test_the_delays_are_those_of_the_last_second(delay_s):
    arrivals = [START_NS + i * PERIOD_NS for i in range(60)]
    # Only long ago was a frame older.
    stamps = [t - round(delay_s * 1e9) for t in arrivals]
    stamps[0] = arrivals[0] - 950_000_000
    report = fed(stamps, arrivals).report(arrivals[-1])
    assert report.delays_s == pytest.approx((delay_s, delay_s), abs=1e-8)
    assert stamp_check(report).state is State.OK


def test_bad_stamps_are_a_warning_for_a_second_and_more_of_them_an_error():
    arrivals = [START_NS + i * PERIOD_NS for i in range(20)]
    stamps = arrivals.copy()
    stamps[10] += 10**9
    health = fed(stamps, arrivals)
    check = stamp_check(health.report(arrivals[-1]))
    assert (check.state, check.values["bad"]) == (State.DEGRADED, "1")
    assert float(check.values["least_delay_s"]) == pytest.approx(-1.0)
    assert stamp_check(health.report(arrivals[10] + 999_999_999)).state is State.DEGRADED
    for _ in range(20):
        arrivals.append(arrivals[-1] + PERIOD_NS)
        health.on_frame(FRAMES[len(arrivals) % 8], arrivals[-1], arrivals[-1])
    assert stamp_check(health.report(arrivals[-1])).state is State.OK
    for _ in range(5):
        arrivals.append(arrivals[-1] + PERIOD_NS)
        health.on_frame(FRAMES[len(arrivals) % 8], 1, arrivals[-1])
    check = stamp_check(health.report(arrivals[-1]))
    assert check.state is State.LOST
    assert "old" in check.message


def test_without_frames_there_is_nothing_to_say_about_stamps():
    check = stamp_check(StreamHealth("rgb", 15.0).report(START_NS))
    assert (check.state, check.message) == (State.DEGRADED, "no frame in the last second")


def test_a_clock_that_was_set_back_forgets_the_delays():
    health = fed([START_NS], [START_NS])
    health.on_frame(FRAMES[1], START_NS - 10**10, START_NS - 10**10)
    assert health.report(START_NS - 10**10).delays_s == (0.0, 0.0)
