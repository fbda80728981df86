"""A derived stream's health follows its sources, whatever its own frames look like."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.sensing.derived_health import DerivedHealth
from multismolvla.sensing.health import State, StreamHealth

PERIOD_NS = 10**9 // 15
LABELS = np.arange(100, dtype=np.uint8).reshape(10, 10) % 9
OK, DEGRADED, LOST = (State.OK, ()), (State.DEGRADED, ("noisy",)), (State.LOST, ("stale",))


def running(**sources) -> DerivedHealth:
    """A stream that has had good frames for a second."""
    health = DerivedHealth("segmentation", 15.0, list(sources))
    for source, (state, reasons) in sources.items():
        health.set_source(source, state, reasons)
    for k in range(15):
        health.on_frame(LABELS, k * PERIOD_NS, k * PERIOD_NS)
    return health


def test_starts_lost_until_a_source_and_frames_are_there():
    health = DerivedHealth("segmentation", 15.0, ["rgb", "depth"])
    assert health.state is State.LOST
    health.set_source("rgb", *OK)
    assert (health.state, health.reasons) == (State.LOST, ("stale",))
    assert running(rgb=OK, depth=OK).state is State.OK


@given(st.lists(st.sampled_from([OK, DEGRADED, LOST]), min_size=1, max_size=3))
@settings(max_examples=40)
def test_is_lost_with_the_last_source_and_degraded_while_one_is_not_ok(states):
    health = running(**dict(zip(("rgb", "depth", "thermal"), states, strict=False)))
    if all(state is LOST for state in states):
        expected = State.LOST
    elif all(state is OK for state in states):
        expected = State.OK
    else:
        expected = State.DEGRADED
    report = health.report(15 * PERIOD_NS)
    assert health.state is report.state is expected
    assert health.reasons == report.reasons
    assert set(report.reasons) == {reason for state in states for reason in state[1]}
    assert bool(report.reasons) == (expected is not State.OK)


def test_loses_itself_at_once_when_the_last_source_goes_and_returns_with_it():
    health = running(rgb=OK, depth=LOST)
    health.set_source("rgb", *LOST)
    assert health.state is State.LOST
    assert not health.on_frame(LABELS, 15 * PERIOD_NS, 15 * PERIOD_NS)
    health.set_source("depth", *OK)
    assert health.on_frame(LABELS, 16 * PERIOD_NS, 16 * PERIOD_NS)
    assert health.state is State.DEGRADED


def test_the_report_says_which_source_is_missing():
    report = running(rgb=LOST, depth=OK).report(15 * PERIOD_NS)
    assert report.detail == "its sources: rgb LOST (stale)"


def test_silence_loses_the_stream_one_period_later_than_a_source():
    health = running(rgb=OK)
    source = StreamHealth("segmentation", 15.0)
    source.on_frame(LABELS, 14 * PERIOD_NS, 14 * PERIOD_NS)
    assert health.deadline_ns - source.deadline_ns == pytest.approx(PERIOD_NS, abs=1)
    health.tick(health.deadline_ns - 1)
    assert health.state is State.OK
    health.tick(health.deadline_ns)
    health.tick(health.deadline_ns)
    # Its source is there: it is this machine that computes nothing.
    assert (health.state, health.reasons) == (State.LOST, ("late_here",))


def test_without_sources_only_its_own_frames_count():
    assert running().state is State.OK
