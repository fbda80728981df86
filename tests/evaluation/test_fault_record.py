"""Delays and false alarms, from masks that are made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.faults.record import FaultRecord
from multismolvla.faults.scenario import Scenario, ScheduledFault
from multismolvla.streams import Stream, StreamTable

TABLE = StreamTable(
    tuple(Stream(kind, kind, 48, 48, 15.0, "camera_optical_frame") for kind in ("rgb", "depth"))
)
PERIOD_S = 0.02


def fault(start_s: float, duration_s: float | None = 1.0) -> ScheduledFault:
    return ScheduledFault("rgb", "drop", start_s, duration_s)


def recorded(faults, masked, *, degraded=(), name="rgb", damaged=(), until_s=5.0) -> FaultRecord:
    """A record of a stream that is masked and degraded in these intervals of seconds."""
    record = FaultRecord(Scenario("made up", tuple(faults)), TABLE)
    for tick in range(round(until_s / PERIOD_S)):
        now_s = round(tick * PERIOD_S, 6)
        lost = any(start <= now_s < end for start, end in masked)
        soft = any(start <= now_s < end for start, end in degraded)
        available = {"rgb": True, "depth": True, name: not lost}
        state = "LOST" if lost else "DEGRADED" if soft else "OK"
        record.add(now_s, available, {name: state}, damaged)
    return record


@given(late=st.integers(0, 40), recovery=st.integers(0, 100))
def test_delays_are_those_of_the_mask(late, recovery):
    masked = [(round(1.0 + late * PERIOD_S, 6), round(2.0 + recovery * PERIOD_S, 6))]
    record = recorded([fault(1.0)], masked)
    (result,) = record.results
    assert result.masked_after_s == result.warned_after_s == pytest.approx(late * PERIOD_S)
    assert result.recovered_after_s == pytest.approx(recovery * PERIOD_S)
    assert record.false_alarms == 0


def test_what_was_never_masked_has_recovered_and_what_stays_masked_has_not():
    (unseen,) = recorded([fault(1.0)], []).results
    assert (unseen.masked_after_s, unseen.recovered_after_s) == (None, 0.0)
    (stuck,) = recorded([fault(1.0)], [(1.1, 9.0)]).results
    assert stuck.recovered_after_s is None
    (forever,) = recorded([fault(1.0, None)], [(1.1, 9.0)]).results
    assert forever.masked_after_s == pytest.approx(0.1) and forever.recovered_after_s is None


def test_a_stream_that_is_lost_again_has_not_recovered_before():
    (result,) = recorded([fault(1.0)], [(1.1, 2.1), (2.5, 2.8)]).results
    assert result.recovered_after_s == pytest.approx(0.8)


def test_the_next_fault_is_not_held_against_the_one_before():
    first, second = recorded([fault(0.5), fault(2.0)], [(0.6, 1.8), (2.1, 3.3)]).results
    assert first.recovered_after_s == pytest.approx(0.3)
    assert (second.masked_after_s, second.recovered_after_s) == pytest.approx((0.1, 0.3))


def test_a_fault_from_before_counts_from_the_instruction():
    (result,) = recorded([fault(-0.8, None)], [(0.0, 9.0)]).results
    assert result.masked_after_s == 0.0


def test_times_of_masks_are_kept():
    record = recorded([fault(1.0)], [(1.1, 2.1), (2.5, 2.8)])
    assert record.masked == {"rgb": [pytest.approx([1.1, 2.1]), pytest.approx([2.5, 2.8])]}


def test_a_warning_is_no_mask():
    (result,) = recorded([fault(1.0)], [], degraded=[(1.3, 1.9)]).results
    assert result.warned_after_s == pytest.approx(0.3) and result.masked_after_s is None


def test_false_alarms_are_counted_once_each_and_only_without_a_reason():
    assert recorded([fault(1.0)], [(1.0, 1.5), (2.0, 2.2)], name="depth").false_alarms == 2
    made_from_it = recorded([fault(1.0)], [(1.0, 1.5)], name="depth", damaged={"depth"})
    assert made_from_it.false_alarms == 0
    # Before the fault, in it, in its aftermath, and long after.
    for start_s, alarms in ((0.5, 1), (1.5, 0), (2.9, 0), (4.0, 1)):
        assert recorded([fault(1.0)], [(start_s, start_s + 0.1)]).false_alarms == alarms
