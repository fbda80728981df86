"""DeltaFilter: whatever comes in, actions stay within their bounds, and a hold moves nothing."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.control.delta_safety import (
    DeltaCommand,
    DeltaFilter,
    DeltaLimits,
    StepPlayer,
)
from multismolvla.control.safety import SafetyState
from multismolvla.control.trajectory import Trajectory
from multismolvla.embodiment.panda import PANDA
from multismolvla.embodiment.so101 import SO101

PERIOD_NS = 50_000_000
LIMITS = DeltaLimits(PANDA.action, change=0.5)
FULL = np.array([1.0, -1.0, 0.5, 0.0, 0.0, 0.0, 1.0])


class Run:
    """A filter on a clock of its own."""

    def __init__(self, limits=LIMITS):
        self.filter = DeltaFilter(limits)
        self.now_ns = 10**12

    def step(self, action=None, age_ns=0, elapsed_ns=PERIOD_NS, reason=""):
        self.now_ns += elapsed_ns
        command = None if action is None else DeltaCommand(self.now_ns - age_ns, action)
        return self.filter.step(self.now_ns, command, reason)


def assert_still(delta, gripper):
    np.testing.assert_array_equal(delta.action, [0, 0, 0, 0, 0, 0, gripper])


def test_before_the_first_command_the_arm_is_held_still():
    delta = Run().step()
    assert_still(delta, 0.0)
    assert (delta.state, delta.reason) == (SafetyState.IDLE, "no command yet")


def test_steps_rise_by_the_allowed_change_and_the_gripper_at_once():
    run = Run()
    first, second = run.step(FULL), run.step(FULL)
    np.testing.assert_allclose(first.action, [0.5, -0.5, 0.5, 0, 0, 0, 1.0])
    np.testing.assert_allclose(second.action, FULL)
    assert (second.state, second.reason) == (SafetyState.TRACKING, "")


def test_numbers_beyond_the_bounds_are_clamped_and_named():
    delta = Run().step(np.array([0.1, 3.0, 0, 0, 0, 0, -2.0]))
    assert delta.reason == "at the limit: dy, gripper"
    np.testing.assert_allclose(delta.action, [0.1, 0.5, 0, 0, 0, 0, -1.0])


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (None, "^no command$"),
        (np.full(7, np.nan), "action is not finite"),
        (np.zeros(6), r"action has shape \(6,\), expected \(7,\)"),
        (np.array(["a"] * 7), "not finite"),
    ],
)
def test_what_cannot_be_followed_holds_still_at_once_with_the_gripper_as_it_was(action, reason):
    run = Run()
    run.step(FULL)
    delta = run.step(action)
    assert_still(delta, 1.0)
    assert delta.state is SafetyState.HOLD and re.search(reason, delta.reason)
    # And from standing still the arm starts within its limits again.
    np.testing.assert_allclose(run.step(FULL).action[0], 0.5)


def test_a_stale_command_and_one_from_the_future_hold():
    run = Run()
    run.step(FULL)
    delta = run.step(FULL, age_ns=300_000_000)
    assert_still(delta, 1.0)
    assert delta.reason == "stale command: 0.3 s old"
    assert run.step(FULL, age_ns=-(10**9)).reason == "command refused: 1.0 s in the future"


def test_a_step_is_executed_once_however_often_it_is_given():
    run = Run()
    run.step(FULL)
    delta = run.step(FULL, age_ns=PERIOD_NS)
    assert_still(delta, 1.0)
    assert (delta.state, delta.reason) == (SafetyState.HOLD, "no new command")


def test_a_stop_stays_until_reset():
    run = Run()
    run.step(FULL)
    run.filter.stop("stopped by the operator")
    for _ in range(5):
        delta = run.step(FULL)
        assert_still(delta, 1.0)
    assert (delta.state, delta.reason) == (SafetyState.STOPPED, "stopped by the operator")
    run.filter.reset()
    assert run.step(FULL).state is SafetyState.TRACKING


def test_after_a_clock_set_back_new_commands_are_followed():
    run = Run()
    run.step(FULL)
    assert run.step(FULL, elapsed_ns=-(10**11)).state is SafetyState.TRACKING


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="joint_targets; expected end_effector_deltas"):
        DeltaLimits(SO101.action_space)
    for key in ("change", "command_timeout_s"):
        with pytest.raises(ValueError, match=f"{key} is nan; expected a positive number"):
            dataclasses.replace(LIMITS, **{key: np.nan})


numbers = st.one_of(
    st.floats(-3.0, 3.0), st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -1e308, 0.0])
)
commands = st.one_of(
    st.none(),
    st.lists(st.floats(-3.0, 3.0), min_size=7, max_size=7),
    st.lists(numbers, min_size=6, max_size=8),
)
events = st.tuples(
    commands,
    st.sampled_from([0, 0, 0, 40_000_000, 300_000_000]),
    st.sampled_from([PERIOD_NS, PERIOD_NS, 1, 10 * PERIOD_NS, -(10**10)]),
    st.sampled_from(["", "", "", "", "stop", "reset"]),
    st.integers(1, 4),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=14))
def test_actions_are_always_within_all_limits(sequence):
    run, last, stopped = Run(), np.zeros(7), False
    for command, age_ns, elapsed_ns, event, repeats in sequence:
        if event == "stop":
            run.filter.stop("stopped")
        elif event == "reset":
            run.filter.reset()
        stopped = event == "stop" or (stopped and event != "reset")
        for _ in range(repeats):
            delta = run.step(command, age_ns, elapsed_ns)
            assert np.isfinite(delta.action).all() and (np.abs(delta.action) <= 1.0).all()
            assert not stopped or delta.state is SafetyState.STOPPED
            if delta.state is SafetyState.TRACKING:
                assert (np.abs(delta.action - last)[:6] <= 0.5 + 1e-12).all()
            else:
                assert_still(delta, last[6])
            last = delta.action


# The steps of trajectories that come late, early and twice.

START_NS = 10**12


def steps(first: int, count: int, start_ns: int) -> Trajectory:
    """Steps whose first number counts them, each due one period after the other."""
    rows = [[float(first + k), 0, 0, 0, 0, 0, 1.0] for k in range(count)]
    offsets = [k * PANDA.action.period_s for k in range(count)]
    return Trajectory(start_ns, PANDA.action.names, offsets, rows, PANDA.action.names)


def handed_out(player: StepPlayer, now_ns: int) -> float | None:
    command, _ = player.next(now_ns)
    return None if command is None else float(command.action[0])


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, PERIOD_NS - 1),
    st.lists(st.integers(-PERIOD_NS // 5, PERIOD_NS // 5), min_size=10, max_size=30),
    st.lists(st.integers(0, 2), min_size=30, max_size=30),
)
def test_every_step_is_handed_out_once_and_in_order_at_any_phase(phase_ns, jitter_ns, late):
    """Trajectories of five steps come a period apart, each up to two periods late."""
    player = StepPlayer(PANDA.action)
    done, coming = [], []
    for n, shift_ns in enumerate(jitter_ns):
        now_ns = START_NS + n * PERIOD_NS + phase_ns + shift_ns
        coming.append(n)
        for sent in list(coming):
            first_ns = START_NS + sent * PERIOD_NS
            if sent + late[sent] <= n and first_ns <= now_ns:
                coming.remove(sent)
                player.follow(steps(sent, 5, first_ns))
        done.append(handed_out(player, now_ns))
    known = [step for step in done if step is not None]
    assert known == [known[0] + k for k in range(len(known))]
    # Not more than the beginning, and one wait for the arm's period to come after the sender's.
    assert len(known) >= len(done) - 4


def test_a_step_that_was_done_is_not_done_again_and_one_that_is_far_ahead_is_not_due():
    player = StepPlayer(PANDA.action)
    player.follow(steps(0, 3, START_NS))
    assert [handed_out(player, START_NS) for _ in range(2)] == [0.0, None]
    player.follow(steps(0, 3, START_NS))
    assert handed_out(player, START_NS + PERIOD_NS) == 1.0


def test_a_step_that_the_newest_trajectory_no_longer_has_is_done_and_one_that_it_changes_is_not():
    player = StepPlayer(PANDA.action)
    player.follow(steps(0, 5, START_NS))
    assert handed_out(player, START_NS) == 0.0
    player.follow(steps(20, 5, START_NS + 2 * PERIOD_NS))
    now_ns = [START_NS + (k + 1) * PERIOD_NS for k in range(3)]
    assert [handed_out(player, now) for now in now_ns] == [1.0, 20.0, 21.0]


def test_steps_that_are_too_old_are_left_out_and_named():
    run, player = Run(), StepPlayer(PANDA.action)
    now_ns = run.now_ns
    player.follow(steps(0, 2, now_ns - 21 * PERIOD_NS))
    old = run.filter.step(now_ns, *player.next(now_ns))
    assert_still(old, 0.0)
    assert old.reason == "stale command: 1.0 s old"
    player.follow(steps(0, 9, now_ns - 6 * PERIOD_NS))
    assert handed_out(player, now_ns) == 5.0


def test_a_refused_trajectory_ends_the_one_before_and_a_forgotten_one_begins_anew():
    player = StepPlayer(PANDA.action)
    player.follow(steps(0, 3, START_NS))
    assert handed_out(player, START_NS) == 0.0
    player.refuse("unknown joint 'shoulder'")
    assert player.next(START_NS + PERIOD_NS) == (None, "unknown joint 'shoulder'")
    player.forget()
    player.follow(steps(7, 3, START_NS - PERIOD_NS))
    assert handed_out(player, START_NS) == 7.0


def test_a_clock_that_is_set_back_makes_steps_new():
    player = StepPlayer(PANDA.action)
    player.follow(steps(0, 3, START_NS))
    handed_out(player, START_NS)
    player.follow(steps(5, 3, PERIOD_NS))
    assert handed_out(player, PERIOD_NS) == 5.0
