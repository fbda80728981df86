"""Steps of the gripper through the queue: each is executed once, and a hold moves nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.control.action_queue import ActionQueue, latest_only, merge_strategy
from multismolvla.control.inference import check_chunk
from multismolvla.control.policy_loop import HOLD_REPEAT_NS, Playback
from multismolvla.embodiment.panda import PANDA
from multismolvla.interfaces import ActionChunk, Observation

PERIOD_NS, START_NS = 50_000_000, 1_795_000_000_123_456_789
SPACE = PANDA.action


def chunk(first: int, rows: int, stamp_ns: int) -> ActionChunk:
    """Steps numbered from `first` on, with a closed gripper."""
    actions = np.zeros((rows, 7))
    actions[:, 0], actions[:, 6] = first + np.arange(rows), 1.0
    return ActionChunk(stamp_ns, 0.05, actions)


def step_queue(merge=latest_only) -> ActionQueue:
    return ActionQueue(merge, space=SPACE)


def test_a_step_holds_for_its_period():
    queue = step_queue()
    queue.merge(chunk(5, 3, START_NS), START_NS)
    times = START_NS + np.array([0, 1, PERIOD_NS - 1, PERIOD_NS, 3 * PERIOD_NS - 1])
    assert [queue.sample(int(now))[0] for now in times] == [5, 5, 5, 6, 7]
    assert queue.sample(START_NS + 3 * PERIOD_NS) is None
    assert queue.look_ahead(START_NS, 5, PERIOD_NS).targets[:, 0].tolist() == [5, 6, 7]


def test_a_late_chunk_is_entered_at_its_stamp_while_the_arm_moves():
    queue = step_queue()
    queue.merge(chunk(0, 20, START_NS), START_NS)
    now_ns = START_NS + 7 * PERIOD_NS
    queue.merge(chunk(102, 20, START_NS + 2 * PERIOD_NS), now_ns)
    assert queue.sample(now_ns)[0] == 107
    assert queue.level(now_ns).actions == 15


def test_a_first_chunk_is_executed_from_its_first_row_however_late_it_is():
    queue = step_queue()
    now_ns = START_NS + 7 * PERIOD_NS + PERIOD_NS // 3
    assert queue.merge(chunk(0, 10, START_NS), now_ns) == 10
    assert queue.look_ahead(now_ns, 20, PERIOD_NS).targets[:, 0].tolist() == list(range(10))


def test_a_step_keeps_its_instant_whenever_it_is_read():
    queue = step_queue()
    queue.merge(chunk(0, 4, START_NS), START_NS)
    for late_ns in (0, 1, PERIOD_NS - 1):
        ahead = queue.look_ahead(START_NS + PERIOD_NS + late_ns, 9, PERIOD_NS)
        assert (ahead.times_ns - START_NS).tolist() == [k * PERIOD_NS for k in (1, 2, 3)]
        assert ahead.targets[:, 0].tolist() == [1, 2, 3]


def test_a_new_chunk_replaces_the_old_one_at_once_even_where_a_crossfade_is_asked_for():
    queue = step_queue(merge_strategy("crossfade", 0.1))
    queue.merge(chunk(0, 20, START_NS), START_NS)
    now_ns = START_NS + PERIOD_NS
    queue.merge(chunk(100, 9, now_ns), now_ns)
    assert queue.look_ahead(now_ns, 3, PERIOD_NS).targets[:, 0].tolist() == [100, 101, 102]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(2, 12),
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 4)), min_size=1, max_size=12),
    st.integers(0, PERIOD_NS - 1),
)
def test_a_plan_is_executed_step_by_step_whatever_the_latency(rows, calls, offset_ns):
    """A policy continues its plan from where the arm was when it looked.

    No step is executed twice, none is left out, and the arm is held still when the queue is empty.
    """
    queue = step_queue()
    playback = Playback(queue, 3, PERIOD_NS, SPACE)
    now_ns, executed = START_NS, 0

    def tick():
        nonlocal now_ns, executed
        targets = playback.tick(now_ns, hold=False)
        if targets is not None and not playback.holding:
            assert targets[0, 0] == executed
            executed += 1
        elif targets is not None:
            np.testing.assert_array_equal(targets, [[0, 0, 0, 0, 0, 0, 1.0]])
        now_ns += PERIOD_NS

    for latency, pause in calls:
        answer = chunk(executed, rows, now_ns)
        for _ in range(latency):
            tick()
        # It arrives between two ticks; after its own end it is refused.
        queue.merge(answer, now_ns - (offset_ns if latency else 0))
        for _ in range(pause):
            tick()
    for _ in range(rows + 2):
        tick()
    assert playback.holding


def test_a_hold_and_an_empty_queue_send_a_step_of_zero_with_the_gripper_as_it_was():
    queue = step_queue()
    playback = Playback(queue, 3, PERIOD_NS, SPACE)
    queue.merge(chunk(3, 2, START_NS), START_NS)
    playback.tick(START_NS, hold=False)
    held = playback.tick(START_NS + PERIOD_NS, hold=True)
    np.testing.assert_array_equal(held, [[0, 0, 0, 0, 0, 0, 1.0]])
    later_ns = START_NS + HOLD_REPEAT_NS + PERIOD_NS
    assert playback.tick(later_ns, hold=True) is None


def test_a_chunk_of_another_period_is_another_motion_and_refused():
    observation = Observation(0, {}, {}, np.zeros(8), "go")
    given_chunk = chunk(0, 3, 0)
    assert check_chunk(given_chunk, observation, PANDA.action_names, SPACE) is given_chunk
    slow = ActionChunk(0, 0.1, np.zeros((3, 7)))
    with pytest.raises(ValueError, match=r"a step every 0\.1 s; expected 0\.05 s"):
        check_chunk(slow, observation, PANDA.action_names, SPACE)
    wrong = ActionChunk(0, 0.05, np.full((3, 7), np.nan))
    with pytest.raises(ValueError, match="nan for dx in row 0; expected finite numbers"):
        check_chunk(wrong, observation, PANDA.action_names, SPACE)
