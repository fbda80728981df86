"""SafetyFilter: whatever comes in, setpoints stay within position, speed and acceleration."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.control.safety import Command, SafetyFilter, SafetyLimits, SafetyState
from multismolvla.embodiment.so101 import SO101

TICK_NS = 10_000_000
LIMITS = SafetyLimits(
    names=SO101.joint_names,
    lower_rad=SO101.lower_rad,
    upper_rad=SO101.upper_rad,
    velocity_rad_s=np.full(6, 3.0),
    acceleration_rad_s2=np.full(6, 20.0),
)
FAR = np.array([1.5, 1.0, -1.0, -1.0, 2.0, 1.5])


class Run:
    """A filter on a clock of its own, with the setpoints that left it."""

    def __init__(self, limits=LIMITS, pose=SO101.home_rad):
        self.filter = SafetyFilter(limits)
        self.now_ns = 10**12
        self.pose = np.array(pose, dtype=float)
        self.goals = []

    def step(self, target=None, velocity=None, age_ns=0, elapsed_ns=TICK_NS, reason=""):
        self.now_ns += elapsed_ns
        command = None if target is None else Command(self.now_ns - age_ns, target, velocity)
        setpoint = self.filter.step(self.now_ns, self.pose, command, reason)
        if setpoint.goal_rad is not None:
            self.goals.append(setpoint.goal_rad)
        return setpoint

    def settle(self, target, steps=400):
        for _ in range(steps):
            setpoint = self.step(target)
        return setpoint


def test_nothing_is_written_before_the_first_command():
    run = Run()
    setpoint = run.step()
    assert setpoint.goal_rad is None
    assert setpoint.state is SafetyState.IDLE
    assert setpoint.reason == "no command yet"


def test_starts_from_the_measured_pose_and_slowly():
    run = Run()
    np.testing.assert_array_equal(run.step(FAR).goal_rad, SO101.home_rad)
    for _ in range(10):
        run.step(FAR)
    speed = np.abs(np.diff(run.goals, axis=0)).max() / 0.01
    assert speed <= 0.11 * 3.0 + 1e-9


def test_reaches_the_target_without_overshoot():
    run = Run()
    setpoint = run.settle(FAR)
    np.testing.assert_allclose(setpoint.goal_rad, FAR, atol=1e-4)
    assert (np.array(run.goals) <= np.maximum(SO101.home_rad, FAR) + 1e-9).all()
    assert (np.array(run.goals) >= np.minimum(SO101.home_rad, FAR) - 1e-9).all()


def test_follows_a_moving_target_without_lag():
    run = Run()
    run.settle(SO101.home_rad, 110)
    velocity = -0.5 * np.sign(SO101.home_rad)
    for tick in range(50):
        target = SO101.home_rad + velocity * 0.01 * (tick + 1)
        setpoint = run.step(target, velocity)
    np.testing.assert_allclose(setpoint.goal_rad, target, atol=1e-3)


def test_targets_beyond_the_limits_are_clamped_and_named():
    run = Run()
    setpoint = run.settle(np.array([9.0, 0, 0, 0, 0, -9.0]))
    assert setpoint.reason == "at the joint limit: shoulder_pan, gripper"
    np.testing.assert_allclose(setpoint.goal_rad[[0, 5]], [1.91986, -0.174533], atol=1e-4)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (np.full(6, np.nan), "not finite"),
        (np.array([0, 0, np.inf, 0, 0, 0]), "not finite"),
        (np.zeros(5), r"shape \(5,\)"),
        (np.array(["a"] * 6), "not finite"),
        ([[0.0] * 6], r"shape \(1, 6\)"),
    ],
)
def test_an_unusable_target_holds_the_last_safe_setpoint(target, reason):
    run = Run()
    run.settle(FAR, 50)
    last = run.goals[-1]
    setpoint = run.step(target)
    assert setpoint.state is SafetyState.HOLD
    assert re.search(reason, setpoint.reason)
    while setpoint.goal_rad is not None:
        setpoint = run.step(target)
    # The braking distance at 3 rad/s.
    assert np.abs(run.goals[-1] - last).max() <= 3.0**2 / (2 * 20.0)
    assert not np.allclose(run.goals[-1], 0.0, atol=0.2)


def test_a_stale_command_holds_and_writes_nothing_once_at_rest():
    run = Run()
    run.settle(SO101.home_rad, 20)
    setpoint = run.step(SO101.home_rad, age_ns=300_000_000)
    assert setpoint.state is SafetyState.HOLD
    assert setpoint.goal_rad is None
    assert setpoint.reason == "stale command: 0.3 s old"


def test_a_command_from_the_future_is_refused():
    run = Run()
    assert run.step(FAR, age_ns=-(10**9)).reason == "command refused: 1.0 s in the future"
    assert not run.goals


def test_leaving_hold_starts_from_where_the_arm_is_now():
    run = Run()
    run.settle(FAR)
    run.step(None, reason="policy holds")
    run.pose = SO101.home_rad + 0.1
    np.testing.assert_array_equal(run.step(FAR).goal_rad, SO101.home_rad + 0.1)


def test_a_stop_stays_until_reset():
    run = Run()
    run.settle(FAR, 50)
    run.filter.stop("stopped by the operator")
    for _ in range(100):
        setpoint = run.step(FAR)
    assert setpoint.state is SafetyState.STOPPED
    assert setpoint.goal_rad is None
    assert setpoint.reason == "stopped by the operator"
    run.filter.freeze("bus lost")
    assert run.filter.state is SafetyState.STOPPED
    run.filter.reset()
    assert run.step(FAR).state is SafetyState.TRACKING


def test_an_unknown_pose_starts_nothing():
    run = Run(pose=np.full(6, np.nan))
    setpoint = run.step(FAR)
    assert setpoint.goal_rad is None
    assert setpoint.reason == "the arm's pose is unknown"


def test_a_pose_outside_the_limits_is_led_back_slowly():
    outside = SO101.home_rad.copy()
    outside[2] = SO101.upper_rad[2] + 0.3
    run = Run(pose=outside)
    run.settle(outside)
    elbow = np.array(run.goals)[:, 2]
    assert elbow[0] == outside[2]
    assert (np.diff(elbow) <= 1e-12).all()
    assert np.abs(np.diff(elbow)).max() <= 0.03 + 1e-9
    assert elbow[-1] == pytest.approx(SO101.upper_rad[2], abs=1e-4)


def test_a_fast_target_that_ends_at_the_limit_is_braked_in_time():
    run = Run()
    run.settle(SO101.home_rad, 110)
    velocity = np.array([3.0, 0, 0, 0, 0, 0])
    for tick in range(64):
        run.step(SO101.home_rad + velocity * 0.01 * tick, velocity)
    for _ in range(40):
        run.step(None, reason="policy holds")
    pans = np.array(run.goals)[:, 0]
    assert pans.max() > SO101.upper_rad[0] - 0.2
    assert pans.max() <= SO101.upper_rad[0]


def test_a_clock_that_jumps_back_moves_nothing():
    run = Run()
    run.settle(FAR, 50)
    before = run.goals[-1]
    np.testing.assert_array_equal(run.step(FAR, elapsed_ns=-5 * 10**9).goal_rad, before)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("velocity_rad_s", np.zeros(6)),
        ("velocity_rad_s", np.full(6, np.nan)),
        ("acceleration_rad_s2", np.full(5, 1.0)),
        ("lower_rad", SO101.upper_rad),
    ],
)
def test_limits_that_make_no_sense_are_refused(key, value):
    given_limits = {
        "names": SO101.joint_names,
        "lower_rad": SO101.lower_rad,
        "upper_rad": SO101.upper_rad,
        "velocity_rad_s": np.full(6, 3.0),
        "acceleration_rad_s2": np.full(6, 20.0),
    }
    with pytest.raises(ValueError, match=key):
        SafetyLimits(**{**given_limits, key: value})


numbers = st.one_of(
    st.floats(-4.0, 4.0), st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -1e308, 0.0])
)
commands = st.one_of(
    st.none(),
    st.lists(st.floats(-4.0, 4.0), min_size=6, max_size=6),
    st.lists(numbers, min_size=5, max_size=7),
)
events = st.tuples(
    commands,
    st.one_of(st.none(), st.lists(numbers, min_size=6, max_size=6)),
    st.sampled_from([0, 0, 0, 300_000_000]),
    st.sampled_from([TICK_NS, TICK_NS, 1, 3_000_000, 29_000_000]),
    st.sampled_from(["", "", "", "", "stop", "reset"]),
    st.integers(1, 25),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(events, max_size=14))
def test_setpoints_are_always_within_all_limits(sequence):
    run = Run()
    setpoint = None
    last_goal, last_velocity = SO101.home_rad, np.zeros(6)
    for command, velocity, age_ns, elapsed_ns, event, repeats in sequence:
        if event == "stop":
            run.filter.stop("stopped")
        elif event == "reset":
            run.filter.reset()
        for _ in range(repeats):
            run.pose = last_goal
            setpoint = run.step(command, velocity, age_ns, elapsed_ns)
            if setpoint.goal_rad is None:
                # Nothing is written only once the setpoint is at rest.
                assert (np.abs(last_velocity) <= 20.0 * elapsed_ns * 1e-9 + 1e-6).all()
                last_velocity = np.zeros(6)
                continue
            goal = setpoint.goal_rad
            assert (goal >= SO101.lower_rad - 1e-9).all()
            assert (goal <= SO101.upper_rad + 1e-9).all()
            speed = (goal - last_goal) / (elapsed_ns * 1e-9)
            slack = 1e-6 if elapsed_ns > 1 else 1e-3
            assert (np.abs(speed) <= 3.0 + slack).all()
            if elapsed_ns > 1:
                assert (np.abs(speed - last_velocity) <= 20.0 * elapsed_ns * 1e-9 + slack).all()
                last_velocity = speed
            last_goal = goal
            if event == "stop":
                assert setpoint.state is SafetyState.STOPPED
