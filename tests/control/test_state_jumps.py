"""Two publishers of joint_states are told from an arm that moves, rests or is put elsewhere."""

import numpy as np
import pytest

from multismolvla.control.state_jumps import StateJumps
from multismolvla.embodiment.so101 import SO101

NAMES = SO101.joint_names
POSE = SO101.home_rad
ZEROS = np.zeros(6)
S = 10**9


def jumps(*samples, names=NAMES):
    """Problem after samples (seconds, positions), at the last of them."""
    found = StateJumps(names)
    for at_s, positions in samples:
        found.add(round(at_s * S), positions)
    return found.problem(round(samples[-1][0] * S))


def test_the_true_pose_and_zeros_in_turn_are_two_publishers():
    samples = [(0.01 * count, POSE if count % 2 else ZEROS) for count in range(4)]
    assert jumps(*samples) == (
        "joint_states jump to and fro (wrist_flex); do two programs publish them?"
    )


def test_also_with_the_same_stamp():
    assert jumps((0.0, POSE), (0.0, ZEROS), (0.0, POSE))


@pytest.mark.parametrize(
    "samples",
    [
        [(0.01 * count, POSE) for count in range(200)],
        [(0.01 * count, POSE + 0.0015 * (count % 2)) for count in range(200)],
        # As fast as the servos turn, and with a gap.
        [(0.01 * count, POSE + 0.047 * count) for count in range(30)],
        [(0.0, POSE), (0.5, POSE + 2.3), (1.0, POSE)],
        # A simulator's reset, and another one later.
        [(0.0, POSE), (0.01, ZEROS), (0.02, ZEROS)],
        [(0.0, POSE), (0.01, ZEROS), (2.0, ZEROS), (2.01, POSE)],
    ],
)
def test_an_arm_that_rests_moves_or_is_put_elsewhere_is_none(samples):
    assert not jumps(*samples)


def test_it_is_over_a_second_after_the_last_jump():
    found = StateJumps(NAMES)
    for count in range(4):
        found.add(count * S // 100, POSE if count % 2 else ZEROS)
    assert found.problem(S)
    assert not found.problem(S + S // 10)


def test_states_that_are_no_joints_may_jump():
    assert not jumps((0.0, POSE), (0.01, ZEROS), (0.02, POSE), names=())


def test_a_clock_that_was_set_back_begins_anew():
    found = StateJumps(NAMES)
    for positions in (POSE, ZEROS):
        found.add(S, positions)
    found.clear()
    found.add(0, POSE)
    assert not found.problem(0)
