"""One inference at a time, early enough, and never the last one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.control.action_queue import QueueLevel
from multismolvla.control.inference import (
    RECHECK_NS,
    RETRY_NS,
    InferenceSchedule,
    ObservationFilter,
    RefillThreshold,
)
from multismolvla.interfaces import Observation

EMPTY = QueueLevel(0, 0.0, 0, 0.0)
FULL = QueueLevel(50, 50 / 30, 50, 1 / 30)
HALF = QueueLevel(25, 25 / 30, 50, 1 / 30)
STILL = Observation(0, {}, {}, np.zeros(6), "pick")


def schedule(fixed: float | None = 0.6) -> InferenceSchedule:
    return InferenceSchedule(RefillThreshold(fixed), ObservationFilter(0.02))


def test_one_call_in_flight():
    inference = schedule()
    assert inference.due(0, EMPTY)
    inference.started(0)
    assert not inference.due(10**10, EMPTY)


def test_the_latency_is_measured_from_start_to_merge():
    inference = schedule()
    inference.started(1_000_000_000)
    assert inference.succeeded(1_250_000_000, STILL) == 0.25


class Interrupting(InferenceSchedule):
    """The other thread asks at the very moment at which an inference is no longer in flight."""

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "_in_flight" and not value and getattr(self, "now_ns", 0):
            self.asked.append(self.due(self.now_ns, EMPTY))
            super().__setattr__("_started_ns", self.now_ns)


def test_nothing_of_an_inference_is_touched_once_the_next_one_may_start():
    inference = Interrupting(RefillThreshold(0.6), ObservationFilter(0.02))
    inference.asked, inference.now_ns = [], 5_000_000_000
    inference.started(1_000_000_000)
    assert inference.succeeded(inference.now_ns, STILL) == 4.0
    inference.started(inference.now_ns)
    inference.failed(inference.now_ns)
    inference.started(inference.now_ns)
    inference.declined(inference.now_ns)
    assert inference.asked == [True, False, False]


def test_a_still_robot_is_asked_again_after_a_failed_first_inference():
    inference = schedule()
    inference.started(0)
    assert inference.accepts(STILL, EMPTY)
    inference.failed(0)
    assert not inference.due(RETRY_NS - 1, EMPTY)
    assert inference.due(RETRY_NS, EMPTY)
    inference.started(RETRY_NS)
    assert inference.accepts(STILL, EMPTY)


def test_a_declined_observation_is_looked_at_again_soon_and_on_an_empty_queue_taken():
    inference = schedule()
    inference.started(0)
    inference.succeeded(0, STILL)
    inference.started(0)
    assert not inference.accepts(STILL, HALF)
    inference.declined(0)
    assert not inference.due(0, HALF)
    assert inference.due(RECHECK_NS, HALF)
    inference.started(RECHECK_NS)
    assert inference.accepts(STILL, EMPTY)


def test_a_refresh_goes_ahead_on_a_full_queue_once():
    inference = schedule()
    inference.started(0)
    inference.succeeded(0, STILL)
    assert not inference.due(0, FULL)
    inference.refresh()
    assert inference.due(0, FULL)
    inference.started(0)
    assert inference.accepts(STILL, FULL)
    inference.succeeded(0, STILL)
    assert not inference.due(0, FULL)


def test_a_refresh_asked_for_during_an_inference_is_kept():
    inference = schedule()
    inference.started(0)
    inference.refresh()
    inference.succeeded(0, STILL)
    assert inference.due(0, FULL)


def test_reset_ends_a_pause_but_not_an_inference_in_flight():
    inference = schedule()
    inference.started(0)
    inference.failed(0)
    inference.reset()
    assert inference.due(0, EMPTY)
    inference.started(0)
    inference.reset()
    assert not inference.due(0, EMPTY)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["succeeded", "failed", "declined", "dropped", "refresh", "reset"]),
        max_size=20,
    )
)
def test_whatever_happens_an_empty_queue_is_asked_for_again(events):
    inference, now_ns = schedule(fixed=None), 0
    for event in events:
        now_ns += 30_000_000
        if event in ("refresh", "reset"):
            getattr(inference, event)()
            continue
        if inference.due(now_ns, EMPTY):
            inference.started(now_ns)
            arguments = {"succeeded": (now_ns, STILL), "dropped": ()}.get(event, (now_ns,))
            getattr(inference, event)(*arguments)
    now_ns += RETRY_NS
    assert inference.due(now_ns, EMPTY)
    inference.started(now_ns)
    assert inference.accepts(STILL, EMPTY)


def test_to_a_robot_at_rest_chunks_go_on():
    """Its joints and its scene stay the same for a minute; the queue never runs dry."""
    inference, period_ns, latency_ns = schedule(), 20_000_000, 150_000_000
    rows, chunks, done_ns = 0, 0, None
    for now_ns in range(0, 60 * 10**9, period_ns):
        rows = max(0, rows - 1)
        level = QueueLevel(rows, rows * 0.02, 50, 0.02)
        if done_ns is not None and now_ns >= done_ns:
            inference.succeeded(now_ns, STILL)
            rows, chunks, done_ns = 50 - round(latency_ns / period_ns), chunks + 1, None
        elif done_ns is None and inference.due(now_ns, level):
            inference.started(now_ns)
            if inference.accepts(STILL, level):
                done_ns = now_ns + latency_ns
            else:
                inference.declined(now_ns)
        assert rows or not chunks
    assert chunks > 50
