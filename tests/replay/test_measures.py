"""What is measured of a pass, against numbers that can be counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_trace import CAMERAS, TICK_NS, made_up_trace, masked

from multismolvla.embodiment.so101 import SO101
from multismolvla.faults.fault import JOINT_STATES
from multismolvla.faults.record import FaultRecord
from multismolvla.faults.scenario import Scenario, ScheduledFault
from multismolvla.replay.measures import (
    action_error,
    agreement,
    describe,
    error_over_time,
    mask_onsets,
    masked_intervals,
)
from multismolvla.replay.trace import GAP_NS, Plan, Setpoints


def test_an_offset_is_the_error_of_every_joint_and_horizon():
    clean, other = made_up_trace(), made_up_trace(offset=0.25)
    error = action_error(other, clean.setpoints(), other.acting_from_ns)
    assert error.ticks == 190 and error.overall == pytest.approx(0.25)
    for values in (error.mean, error.rms, error.worst):
        assert list(values) == list(SO101.joint_names)
        assert list(values.values()) == pytest.approx([0.25] * 6)
    # A plan of 0.2 s has something to compare 0 and 0.1 s ahead, and nothing later.
    assert [(ahead_s, count) for ahead_s, _, count in error.by_horizon] == [(0.0, 4), (0.1, 4)]
    assert [mean for _, mean, _ in error.by_horizon] == pytest.approx([0.25, 0.25])


def test_a_single_spike_is_the_worst_and_not_the_mean():
    clean, other = made_up_trace(), made_up_trace()
    other.targets[100, 3] += 1.9
    error = action_error(other, clean.setpoints(), other.acting_from_ns)
    assert error.worst["wrist_flex"] == pytest.approx(1.9)
    assert error.mean["wrist_flex"] == pytest.approx(1.9 / 190, abs=1e-6)
    assert error.rms["wrist_flex"] == pytest.approx(1.9 / np.sqrt(190), abs=1e-6)
    assert error.worst["shoulder_pan"] == 0.0


def test_only_what_both_command_is_compared():
    clean, other = made_up_trace(), made_up_trace(offset=0.1)
    other.targets[50:100] = np.nan
    assert action_error(other, clean.setpoints(), 0).ticks == 140
    assert action_error(other, clean.setpoints(), int(clean.ticks_ns[150])).ticks == 50
    over_time = error_over_time(other, clean.setpoints())
    assert np.isnan(over_time[[5, 60]]).all() and over_time[120] == pytest.approx(0.1)


def test_nothing_to_compare_is_none():
    clean = made_up_trace()
    silent = made_up_trace(acting_from=None)
    assert action_error(silent, clean.setpoints(), 0) is None
    assert action_error(clean, silent.setpoints(), 0) is None
    assert action_error(clean, clean.setpoints(), int(clean.ticks_ns[-1]) + 1) is None


@given(st.integers(1, 199), st.integers(0, 199), st.floats(-1.0, 1.0))
def test_a_pass_agrees_with_itself_and_errors_are_those_of_the_offset(acting, tick, offset):
    one, other = made_up_trace(acting_from=acting), made_up_trace(acting_from=acting, offset=offset)
    found = agreement(one, masked(other, "depth", tick, tick + 1))
    assert found["setpoints_rad"]["worst"] == pytest.approx(abs(offset), abs=1e-5)
    differs = tick >= acting
    assert found["same_mask_least"] == pytest.approx(1 - differs / (200 - acting), abs=1e-4)
    assert agreement(one, one)["same_mask"] == 1.0


def test_times_of_masks_are_counted_from_the_first_command():
    trace = masked(masked(made_up_trace(), "rgb", 60, 70), "depth", 0, 20)
    masked(trace, "depth", 180, 200)
    found = masked_intervals(trace, trace.acting_from_ns)
    assert found == {"rgb": [(1.0, 1.2)], "depth": [(0.0, 0.2), (3.4, 3.78)]}
    # What was masked from the beginning on has no onset.
    assert mask_onsets(trace, trace.acting_from_ns) == [("rgb", 1.0), ("depth", 3.4)]
    joints = made_up_trace(streams=("rgb", JOINT_STATES))
    assert mask_onsets(masked(joints, JOINT_STATES, 60, 70), 0) == []


def test_a_pass_is_described_by_what_a_machine_can_compare():
    trace = masked(made_up_trace(), "rgb", 60, 79)
    trace.starved_ticks, trace.held_ticks = 3, 20
    line = describe(trace, CAMERAS, trace.acting_from_ns, None, None)
    assert line["availability"] == {"rgb": 0.9, "depth": 1.0}
    assert line["lasts_s"] == 3.98
    # 15 frames a second were expected.
    assert line["frames_share"] == {"rgb": 1.005, "depth": 0.503}
    assert line["skew_ms"] == {"median": 2.0, "p95": 8.3, "worst": 9.0} and line["sets"] == 3
    assert line["latency_ms"]["worst"] == 120.0 and line["inferences"] == 4
    assert (line["starved_ticks"], line["held_share"], line["queue_low_s"]) == (3, 0.1, 0.4)
    assert line["error_to_recorded_rad"] is None and line["error_to_clean_rad"] is None
    assert "faults" not in line


def test_a_pass_without_ticks_is_described_too():
    empty = made_up_trace(ticks=0, acting_from=None, skews_s=[], latencies_s=[])
    line = describe(empty, CAMERAS, 0, None, made_up_trace())
    assert line["availability"] == {} and line["skew_ms"] is None and line["lasts_s"] == 0.0
    assert line["queue_low_s"] is None and line["error_to_clean_rad"] is None


def recorded(trace, *faults):
    """The trace with the record of a scenario's faults."""
    scenario = Scenario(trace.name, faults)
    origin_ns = trace.acting_from_ns
    schedules = scenario.schedules(CAMERAS, origin_ns)
    trace.record = FaultRecord(scenario, CAMERAS)
    for now_ns, used in zip(trace.ticks_ns.tolist(), trace.available.tolist(), strict=True):
        if now_ns >= origin_ns:
            available = dict(zip(trace.streams, used, strict=True))
            states = {name: "OK" if in_use else "LOST" for name, in_use in available.items()}
            damaged = {name for name, schedule in schedules.items() if schedule.active(now_ns)}
            trace.record.add((now_ns - origin_ns) * 1e-9, available, states, damaged)
    return trace


def test_a_fault_is_described_by_its_delays_and_what_else_was_masked_is_a_false_alarm():
    trace = masked(made_up_trace("loss"), "rgb", 65, 110)
    trace = recorded(masked(trace, "depth", 20, 30), ScheduledFault("rgb", "drop", 1.0, 0.8))
    line = describe(trace, CAMERAS, trace.acting_from_ns, None, made_up_trace())
    (fault,) = line["faults"]
    assert (fault["stream"], fault["fault"], fault["severity"]) == ("rgb", "drop", None)
    assert (fault["start_s"], fault["end_s"]) == (1.0, 1.8)
    assert fault["masked_after_s"] == pytest.approx(0.1, abs=0.011)
    assert fault["recovered_after_s"] == pytest.approx(0.2, abs=0.011)
    assert line["false_alarms"] == 1
    assert line["masked_s"] == {"rgb": [(1.1, 2.0)], "depth": [(0.2, 0.4)]}


def test_every_mask_of_the_clean_pass_is_a_false_alarm():
    trace = recorded(masked(masked(made_up_trace(), "rgb", 60, 70), "depth", 90, 95))
    line = describe(trace, CAMERAS, trace.acting_from_ns, None, None)
    assert line["false_alarms"] == 2 and line["faults"] == []


def test_a_fault_to_the_end_has_no_recovery():
    trace = recorded(masked(made_up_trace(), "rgb", 65, 200), ScheduledFault("rgb", "drop", 1.0))
    (fault,) = describe(trace, CAMERAS, trace.acting_from_ns, None, made_up_trace())["faults"]
    assert fault["end_s"] is None and fault["recovered_after_s"] is None


def test_setpoints_are_interpolated_and_have_gaps():
    times = np.array([0, 100, 100 + 2 * GAP_NS, 200 + 2 * GAP_NS], np.int64)
    targets = np.array([0.0, 1.0, 5.0, 7.0])[:, None] * np.ones(6)
    instants = np.array([-1, 0, 25, 100, 150, 150 + 2 * GAP_NS, 200 + 2 * GAP_NS, 10**12])
    found = Setpoints(times, targets).at(instants)[:, 3]
    expected = [np.nan, 0.0, 0.25, 1.0, np.nan, 6.0, 7.0, np.nan]
    np.testing.assert_allclose(found, expected)
    assert np.isnan(Setpoints(times[:0], targets[:0]).at(instants)).all()


@given(st.lists(st.integers(1, GAP_NS), min_size=1, max_size=8), st.integers(0, 8 * GAP_NS))
def test_setpoints_lie_between_their_neighbours(steps_ns, instant_ns):
    times_ns = np.concatenate([[0], np.cumsum(steps_ns)])
    rows = np.arange(len(times_ns))[:, None] * np.ones(6)
    (found,) = Setpoints(times_ns, rows).at(np.array([instant_ns]))
    if instant_ns > times_ns[-1]:
        assert np.isnan(found).all()
    else:
        after = np.searchsorted(times_ns, instant_ns)
        assert after - 1 <= found[0] <= after
    np.testing.assert_array_equal(Setpoints(times_ns, rows).at(times_ns), rows)


def test_a_plan_of_one_point_is_compared_at_its_instant_alone():
    clean = made_up_trace()
    now_ns = int(clean.ticks_ns[50])
    single = Plan(now_ns, np.array([now_ns]), clean.targets[50:51] + 0.5)
    error = action_error(made_up_trace(plans=[single]), clean.setpoints(), 0)
    assert error.by_horizon == [(0.0, 0.5, 1)]
    late = Plan(now_ns - 10 * TICK_NS, np.array([now_ns]), clean.targets[50:51])
    assert action_error(made_up_trace(plans=[late]), clean.setpoints(), 0).by_horizon[0][0] == 0.2
