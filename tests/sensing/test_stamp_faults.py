"""Faults of stamps and of messages, and several faults of one stream over time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.faults.delivery_queue import FaultSchedule
from multismolvla.faults.fault import JOINT_STATES, Delivery, TimedFault
from multismolvla.faults.message_faults import (
    Drop,
    DuplicateStamp,
    Reorder,
    StampDrift,
    StampJump,
    StampOffset,
    WrongResolution,
)
from multismolvla.faults.registry import FAULTS, make_fault
from multismolvla.modalities.registry import kinds
from multismolvla.sensing.health import State, StreamHealth

PERIOD_NS = 50_000_000
START_NS = 100 * PERIOD_NS


def stream(count: int = 40) -> list[Delivery]:
    return [
        Delivery(
            np.full((4, 4), i % 9, np.uint8), START_NS + i * PERIOD_NS, START_NS + i * PERIOD_NS
        )
        for i in range(count)
    ]


def run(fault, sent: list[Delivery]) -> list[Delivery]:
    return [made for delivery in sent for made in fault.apply(delivery)]


def ahead_s(sent: list[Delivery], received: list[Delivery]) -> list[float]:
    return [(r.stamp_ns - s.stamp_ns) * 1e-9 for s, r in zip(sent, received, strict=True)]


@given(offset_s=st.floats(-100.0, 100.0))
def test_an_offset_is_the_same_for_all_frames(offset_s):
    sent = stream(5)
    assert ahead_s(sent, run(StampOffset("rgb", offset_s=offset_s), sent)) == pytest.approx(
        [offset_s] * 5, abs=1e-9
    )


@given(rate=st.floats(-0.9, 10.0))
def test_a_drift_grows_from_the_beginning_of_the_fault(rate):
    sent = stream(20)
    expected = [rate * i * PERIOD_NS * 1e-9 for i in range(20)]
    assert ahead_s(sent, run(StampDrift("rgb", rate=rate), sent)) == pytest.approx(
        expected, abs=2e-9
    )


def test_a_clock_that_jumps_jumps_back():
    sent = stream(40)
    ahead = ahead_s(sent, run(StampJump("rgb", jump_s=-2.0, every_s=0.5), sent))
    assert ahead == pytest.approx(([-2.0] * 10 + [0.0] * 10) * 2)


@given(share=st.floats(0.0, 1.0), seed=st.integers(0, 99))
def test_duplicates_bear_the_stamp_before_and_keep_their_picture(share, seed):
    sent = stream()
    received = run(DuplicateStamp("rgb", seed, share=share), sent)
    assert [r.frame is s.frame for r, s in zip(received, sent, strict=True)] == [True] * 40
    stamps = [r.stamp_ns for r in received]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == 40 if share == 0.0 else len(set(stamps)) >= 1
    if share == 1.0:
        assert set(stamps) == {sent[0].stamp_ns}


@given(share=st.floats(0.0, 1.0), seed=st.integers(0, 99))
def test_reordered_frames_are_the_same_frames(share, seed):
    sent = stream()
    received = run(Reorder("rgb", seed, share=share), sent)
    arrivals = [r.arrive_ns for r in received]
    assert arrivals == sorted(arrivals)
    stamps = [r.stamp_ns for r in received]
    # All of them but one that may still be held.
    assert set(stamps) <= {s.stamp_ns for s in sent} and len(stamps) >= 39
    late = sum(later < earlier for earlier, later in pairwise(stamps))
    assert late == 20 if share == 1.0 else late <= 20
    if share == 0.0:
        assert received == sent


@given(kind=st.sampled_from(kinds()), scale=st.floats(0.01, 4.0))
def test_a_wrong_resolution_has_the_shape_it_says(kind, scale):
    shape = (20, 30, 3) if kind == "rgb" else (20, 30)
    frame = np.zeros(shape, np.uint8 if kind in ("rgb", "segmentation") else np.float32)
    (made,) = WrongResolution(kind, scale=scale).apply(Delivery(frame, 1, 1))
    assert made.frame.shape[:2] == (max(1, round(20 * scale)), max(1, round(30 * scale)))
    assert made.frame.shape[2:] == shape[2:] and made.frame.dtype == frame.dtype


def test_unreadable_messages_say_why():
    (sound,) = stream(1)
    assert sound.unreadable == ""
    (cut,) = make_fault("truncated_data", "depth", parameters={"share": 0.5}).apply(sound)
    assert "50%" in cut.unreadable and "truncated" in cut.unreadable
    for kind in kinds():
        (wrong,) = make_fault("wrong_encoding", kind).apply(sound)
        assert wrong.encoding in wrong.unreadable


def test_what_befalls_messages_befalls_joint_states_and_what_befalls_pictures_does_not():
    able = {name for name, fault in FAULTS.items() if JOINT_STATES in fault.kinds()}
    assert {"drop", "frozen", "delay", "stamp_offset", "reorder"} <= able
    assert not able & {"black", "noise", "truncated_data", "nan_depth"}


def test_faults_of_one_stream_take_turns_and_act_together():
    def timed(fault, start: int, end: int | None) -> TimedFault:
        return TimedFault(
            fault, START_NS + start * PERIOD_NS, None if end is None else START_NS + end * PERIOD_NS
        )

    # The offset moves stamps out of the drop's time; what is active goes by the true time.
    schedule = FaultSchedule(
        [timed(StampOffset("rgb", offset_s=10.0), 2, 8), timed(Drop("rgb"), 6, 12)]
    )
    sent = stream(16)
    received = run(schedule, sent)
    assert [r.stamp_ns for r in received] == [
        s.stamp_ns + (10_000_000_000 if 2 <= i < 8 else 0)
        for i, s in enumerate(sent)
        if not 6 <= i < 12
    ]
    at = {i: START_NS + i * PERIOD_NS for i in (1, 3, 7, 12)}
    assert [schedule.active(at[i]) for i in at] == [False, True, True, False]
    assert [schedule.silent(at[i]) for i in at] == [False, False, True, False]
    assert FaultSchedule().apply(sent[0]) == [sent[0]] and not FaultSchedule().active(0)


def state_after(fault, frames: int = 40) -> State:
    health, rng = StreamHealth("thermal", 20.0), np.random.default_rng(0)
    for i in range(frames):
        now_ns = START_NS + i * PERIOD_NS
        frame = (20.0 + rng.standard_normal((32, 32))).astype(np.float32)
        sent = Delivery(frame, now_ns, now_ns)
        for made in fault.apply(sent) if i >= 10 else [sent]:
            if made.unreadable:
                health.on_bad_message(made.unreadable, now_ns)
            else:
                health.on_frame(made.frame, made.stamp_ns, now_ns)
    return health.state


@pytest.mark.parametrize(
    ("name", "severity", "state"),
    [
        ("stamp_offset", 1, State.OK),
        ("stamp_offset", 4, State.LOST),
        ("stamp_drift", 1, State.OK),
        ("stamp_drift", 4, State.LOST),
        ("duplicate_stamp", 5, State.LOST),
        ("reorder", 5, State.DEGRADED),
        ("wrong_encoding", 3, State.LOST),
        ("truncated_data", 1, State.LOST),
        ("wrong_resolution", 5, State.OK),
    ],
)
def test_the_detector_sees_what_can_be_seen(name, severity, state):
    assert state_after(make_fault(name, "thermal", severity=severity)) == state
