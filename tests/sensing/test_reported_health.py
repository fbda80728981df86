"""A stream by what its node reports: silence is a loss, whoever listens and on whatever clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.sensing.health import State
from multismolvla.sensing.reported_health import (
    LATE_S,
    ReportedHealth,
    StreamStatus,
    parse_status,
)

MS = 1_000_000
LATE_NS = round(LATE_S * 1e9)
OK = StreamStatus(State.OK, (), rate_hz=15.0, age_s=0.02, frames=7)


def run_to(health, now_ns):
    """Tick at the deadlines only, as a replay does."""
    while (deadline_ns := health.deadline_ns) is not None and deadline_ns <= now_ns:
        health.tick(deadline_ns)


def test_a_stream_is_lost_before_its_first_status_and_nothing_is_due():
    health = ReportedHealth()
    assert (health.state, health.reasons) == (State.LOST, ("status_late",))
    assert health.deadline_ns is None
    health.tick(10**12)
    assert health.deadline_ns is None


def test_three_missing_statuses_lose_the_stream_and_the_next_brings_it_back():
    health = ReportedHealth()
    health.on_status(OK, 0)
    run_to(health, LATE_NS)
    assert health.state is State.OK
    run_to(health, LATE_NS * 5 // 4 + MS)
    assert (health.state, health.reasons) == (State.LOST, ("status_late",))
    # What is known of its frames stays true.
    assert health.status.frames == 7 and health.deadline_ns is None
    health.on_status(OK, 3 * LATE_NS)
    assert health.state is State.OK


def test_a_process_that_did_not_run_takes_what_came_meanwhile_first():
    health = ReportedHealth()
    health.on_status(OK, 0)
    health.tick(100 * LATE_NS)
    assert health.state is State.OK
    health.on_status(OK, 100 * LATE_NS)
    health.tick(100 * LATE_NS + MS)
    assert health.state is State.OK


def test_a_clock_that_is_set_back_loses_nothing():
    health = ReportedHealth()
    health.on_status(OK, 10 * LATE_NS)
    for now_ns in (0, LATE_NS // 2, LATE_NS):
        health.tick(now_ns)
    assert health.state is State.OK
    run_to(health, 2 * LATE_NS)
    assert health.state is State.LOST


@given(st.lists(st.integers(1, LATE_NS), min_size=1, max_size=20))
def test_a_node_that_reports_in_time_is_never_late(gaps_ns):
    health, now_ns = ReportedHealth(), 0
    health.on_status(OK, now_ns)
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        run_to(health, now_ns)
        assert health.state is State.OK
        health.on_status(OK, now_ns)


def test_values_of_a_status_are_read_and_others_refused_in_one_line():
    values = {"state": "DEGRADED", "reason": "noisy,slow", "rate_hz": "9.5", "age_s": "0.1"}
    values |= {"frames": "12"}
    status = parse_status(values)
    assert (status.state, status.reasons) == (State.DEGRADED, ("noisy", "slow"))
    # Recordings from before the lag was measured have none.
    assert (status.frames, status.lag_s, status.alive) == (12, 0.0, True)
    assert parse_status({**values, "lag_ms": "250"}).lag_s == pytest.approx(0.25)
    for wrong in ({}, {**values, "state": "FINE"}, {**values, "frames": "many"}):
        with pytest.raises(ValueError, match="not the status of a stream") as refusal:
            parse_status(wrong)
        assert "\n" not in str(refusal.value)
