"""Where a late chunk is entered: where it agrees with what the arm is told, within its rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.control.action_queue import AHEAD_S, ActionQueue, latest_only, nearest, stamp
from multismolvla.interfaces import ActionChunk

PERIOD_S = 1 / 30
SPEED = np.array([1.0, 0.5, -0.8, 0.2, 0.0, 0.0])
GRIPPER = 5


def path(start_s: float, rows: int = 50) -> np.ndarray:
    """A chunk along a line that every chunk agrees on, from its pose at `start_s` on."""
    return (start_s + np.arange(rows)[:, None] * PERIOD_S) * SPEED


@given(age_s=st.floats(0.0, 1.6))
def test_a_chunk_that_agrees_with_the_one_before_is_played_as_stamped(age_s):
    told = age_s * SPEED
    assert nearest(path(0.0), PERIOD_S, age_s, told) == 0


@given(age_s=st.floats(0.5, 1.0), behind_s=st.floats(-0.3, 0.4))
def test_a_chunk_that_is_ahead_or_behind_is_delayed_or_hastened(age_s, behind_s):
    told = (age_s - behind_s) * SPEED
    delay_s = nearest(path(0.0), PERIOD_S, age_s, told) * PERIOD_S
    # The price of re-timing pulls it a little back, by 0.3^2 of 0.3^2 + |SPEED|^2.
    assert delay_s == pytest.approx(behind_s, abs=0.05 * abs(behind_s) + 0.5 * PERIOD_S + 1e-9)


@given(
    rows=st.integers(1, 60),
    age=st.floats(0.0, 1.0, exclude_max=True),
    told=st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6),
    seed=st.integers(0, 1000),
)
def test_whatever_the_chunk_it_is_entered_within_its_rows(rows, age, told, seed):
    chunk = np.random.default_rng(seed).uniform(-3.0, 3.0, (rows, 6))
    age_s = age * rows * PERIOD_S
    entered_s = age_s - nearest(chunk, PERIOD_S, age_s, np.array(told)) * PERIOD_S
    assert -1e-9 <= entered_s <= max(age_s, (rows - 1) * PERIOD_S) + 1e-9
    assert entered_s <= age_s + AHEAD_S + 1e-9


def test_the_gripper_is_not_taken_for_closed_where_the_arm_has_not_closed_it():
    """The chunk closes the gripper and lifts; the arm was still approaching meanwhile."""
    rows = np.zeros((50, 6))
    rows[:, GRIPPER] = np.clip(1.0 - np.arange(50) / 10, 0.0, 1.0)
    rows[10:, 1] = np.arange(40) * 0.02
    told = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    entered = 24 - nearest(rows, PERIOD_S, 24 * PERIOD_S, told)
    assert rows[entered, GRIPPER] > 0.8
    assert stamp(rows, PERIOD_S, 24 * PERIOD_S, told) == 0


def test_where_the_arm_rests_and_all_rows_are_alike_time_decides():
    assert nearest(np.ones((50, 6)), PERIOD_S, 0.5, np.ones(6)) == 0


def test_the_queue_plays_on_from_where_it_entered_and_ends_later_by_the_delay():
    period_ns = round(PERIOD_S * 1e9)
    queue = ActionQueue(latest_only)
    queue.merge(ActionChunk(0, PERIOD_S, np.zeros((50, 6))), 0)
    late = ActionChunk(0, PERIOD_S, path(0.0))
    now_ns = 20 * period_ns
    assert queue.merge(late, now_ns) > 40
    expected = late.actions[50 - queue.level(now_ns).actions :]
    for k in range(5):
        told = queue.sample(now_ns + k * period_ns)
        np.testing.assert_allclose(told, expected[k], atol=1e-3)


def test_a_first_chunk_begins_where_the_arm_was_measured():
    queue = ActionQueue(latest_only)
    now_ns = round(6 * PERIOD_S * 1e9)
    queue.merge(ActionChunk(0, PERIOD_S, path(0.0)), now_ns, anchor=np.zeros(6))
    np.testing.assert_allclose(queue.sample(now_ns), 0.0, atol=1e-6)
