"""The action queue: targets belong to instants, whoever reads them and however often."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.control.action_queue import STRATEGIES, ActionQueue, latest_only, merge_strategy
from multismolvla.interfaces import ActionChunk

PERIOD_NS = 33_333_333
# Wall-clock nanoseconds: large enough that float64 would round them.
START_NS = 1_795_000_000_123_456_789


def chunk(values, stamp_ns: int = START_NS) -> ActionChunk:
    """One row per value, the same for all joints, at exactly `PERIOD_NS`."""
    rows = np.repeat(np.asarray(values, dtype=float)[:, None], 6, axis=1)
    return ActionChunk(stamp_ns, PERIOD_NS * 1e-9, rows)


def queue_with(values, now_ns: int = START_NS) -> ActionQueue:
    queue = ActionQueue(latest_only)
    queue.merge(chunk(values), now_ns)
    return queue


def test_each_row_is_executed_at_its_own_instant_from_row_zero():
    queue = queue_with([10.0, 11.0, 12.0])
    sampled = [queue.sample(START_NS + k * PERIOD_NS)[0] for k in range(3)]
    np.testing.assert_allclose(sampled, [10.0, 11.0, 12.0], atol=1e-6)


def test_between_rows_the_target_is_interpolated():
    assert queue_with([0.0, 1.0]).sample(START_NS + PERIOD_NS // 4)[5] == pytest.approx(
        0.25, abs=1e-6
    )


def test_a_late_chunk_is_entered_in_the_middle_and_not_shifted():
    now_ns = START_NS + 7 * PERIOD_NS
    queue = queue_with(np.arange(10.0), now_ns)
    assert queue.sample(now_ns)[0] == pytest.approx(7.0)
    assert queue.level(now_ns).actions == 3


def test_the_last_row_lasts_one_period_and_then_the_queue_is_empty():
    queue = queue_with([0.0, 1.0])
    end_ns = START_NS + 2 * PERIOD_NS
    assert queue.sample(end_ns - 1)[0] == 1.0
    assert queue.sample(end_ns) is None
    assert queue.level(end_ns).actions == 0
    assert queue.level(end_ns).seconds == 0.0


def test_an_empty_queue_has_nothing_to_say():
    queue = ActionQueue(latest_only)
    assert queue.sample(0) is None
    assert queue.look_ahead(0, 5, 20_000_000) is None
    assert queue.queued() is None
    assert queue.level(0).actions == 0


def test_look_ahead_ends_where_the_queue_ends():
    queue = queue_with([0.0, 1.0, 2.0])
    now_ns = START_NS + 2 * PERIOD_NS
    assert len(queue.look_ahead(now_ns, 5, 20_000_000).targets) == 2
    assert len(queue.look_ahead(START_NS, 5, 20_000_000).targets) == 5


@pytest.mark.parametrize(
    ("stamp_ns", "why"),
    [
        (START_NS - 5 * PERIOD_NS, "has ended already"),
        (START_NS + 2 * PERIOD_NS, "has not begun"),
    ],
)
def test_a_chunk_outside_its_time_changes_nothing(stamp_ns, why):
    queue = queue_with([5.0] * 10)
    assert queue.merge(chunk([9.0] * 5, stamp_ns), START_NS + PERIOD_NS) == 0, why
    assert queue.sample(START_NS + PERIOD_NS)[0] == 5.0


def test_an_answer_to_an_older_observation_is_refused():
    queue = queue_with([5.0] * 10)
    assert queue.merge(chunk([9.0] * 50, START_NS - PERIOD_NS), START_NS + PERIOD_NS) == 0
    assert queue.sample(START_NS + PERIOD_NS)[0] == 5.0


def test_a_chunk_asked_for_before_a_clear_cannot_come_back():
    queue = queue_with([5.0] * 10)
    asked_in = queue.generation
    queue.clear()
    assert queue.merge(chunk([9.0] * 10), START_NS, generation=asked_in) == 0
    assert queue.sample(START_NS) is None
    assert queue.merge(chunk([9.0] * 10), START_NS, generation=queue.generation) == 10


def test_a_reader_whose_clock_was_read_before_the_merge_is_not_starved():
    queue = queue_with([0.0] * 10)
    now_ns = START_NS + 3 * PERIOD_NS
    queue.merge(chunk([9.0] * 10, START_NS + PERIOD_NS), now_ns)
    assert queue.sample(now_ns - 1_000_000)[0] == 9.0
    assert queue.sample(now_ns - PERIOD_NS) is None


def test_the_first_chunk_fades_in_from_the_anchor():
    queue = ActionQueue(merge_strategy("crossfade", 0.1))
    queue.merge(chunk([1.0] * 10), START_NS, anchor=np.full(6, 0.5))
    assert queue.sample(START_NS)[0] == pytest.approx(0.5)
    assert queue.sample(START_NS + 5 * PERIOD_NS)[0] == pytest.approx(1.0)


def test_a_chunk_that_comes_after_starvation_fades_in_from_the_last_target():
    queue = ActionQueue(merge_strategy("crossfade", 0.1))
    queue.merge(chunk([1.0] * 3), START_NS)
    now_ns = START_NS + 20 * PERIOD_NS
    assert queue.sample(now_ns) is None
    queue.merge(chunk([2.0] * 9, now_ns), now_ns)
    assert queue.sample(now_ns)[0] == pytest.approx(1.0)


finite = st.floats(-3.0, 3.0)
plans = st.lists(finite, min_size=2, max_size=20)


@settings(max_examples=60, deadline=None)
@given(plans, st.lists(st.integers(0, 25 * PERIOD_NS), max_size=30))
def test_reading_changes_nothing(values, reads):
    queue = queue_with(values)
    before = [queue.level(START_NS + t) for t in range(0, 25 * PERIOD_NS, PERIOD_NS)]
    for offset in reads:
        queue.sample(START_NS + offset)
        queue.look_ahead(START_NS + offset, 5, 20_000_000)
    assert before == [queue.level(START_NS + t) for t in range(0, 25 * PERIOD_NS, PERIOD_NS)]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 30), st.integers(0, 29 * PERIOD_NS), st.sampled_from(STRATEGIES))
def test_no_action_runs_twice_or_early_across_a_merge(rows, merge_offset, strategy):
    # Both chunks plan 'the target is the time', so any shift or repetition shows as an error.
    queue = ActionQueue(merge_strategy(strategy, 0.1))
    queue.merge(chunk(np.arange(rows)), START_NS)
    now_ns = START_NS + min(merge_offset, (rows - 1) * PERIOD_NS)
    behind = (now_ns - START_NS) // 2
    plan = (behind + np.arange(rows) * PERIOD_NS) / PERIOD_NS
    queue.merge(chunk(plan, START_NS + behind), now_ns)
    # A blend with an old chunk that has ended is pulled to that chunk's last target.
    ends = behind if strategy == "latest_only" else -PERIOD_NS
    for t in range(now_ns, START_NS + ends + (rows - 1) * PERIOD_NS, PERIOD_NS):
        assert queue.sample(t)[0] == pytest.approx((t - START_NS) / PERIOD_NS, abs=1e-5)


@settings(max_examples=80, deadline=None)
@given(plans, plans, st.integers(0, 15 * PERIOD_NS), st.floats(0.05, 0.5))
def test_crossfade_bounds_the_speed_of_the_setpoint(old, new, offset, fade_s):
    queue = ActionQueue(merge_strategy("crossfade", fade_s))
    queue.merge(chunk(old), START_NS)
    now_ns = START_NS + offset
    before = queue.sample(now_ns)
    stamp_ns = START_NS + offset // 2
    if queue.merge(chunk(new, stamp_ns), now_ns) == 0:
        return
    after = queue.sample(now_ns)
    np.testing.assert_allclose(after, old[-1] if before is None else before, atol=1e-9)

    # d/dt ((1-w) old + w new) <= max of the two speeds + largest gap / fade
    def speed(values):
        return np.max(np.abs(np.diff(values)), initial=0.0) / (PERIOD_NS * 1e-9)

    gap = max(old) - min(new), max(new) - min(old)
    bound = max(speed(old), speed(new)) + max(map(abs, gap)) / fade_s
    step_ns = 5_000_000
    times = np.arange(now_ns, queue.queued().end_ns, step_ns)
    path = np.array([queue.sample(int(t))[0] for t in times])
    assert (np.abs(np.diff(path)) <= bound * step_ns * 1e-9 + 1e-6).all()


def test_readers_never_see_a_half_merged_queue():
    queue = ActionQueue(latest_only)
    queue.merge(chunk([0.0] * 50), START_NS)
    stop = threading.Event()
    torn = []

    def read():
        while not stop.is_set():
            targets = queue.look_ahead(START_NS, 5, 20_000_000).targets
            if len(set(targets.ravel())) != 1:
                torn.append(targets)

    reader = threading.Thread(target=read)
    reader.start()
    for value in range(300):
        queue.merge(chunk([float(value)] * 50), START_NS)
    stop.set()
    reader.join()
    assert not torn
