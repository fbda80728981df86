"""The past that the page shows: without gaps, no longer than asked for, and nothing made up."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from multismolvla.monitoring.history import StateHistory, ValueHistory

SPAN_S = 10.0
steps = st.lists(
    st.tuples(st.floats(0.0, 8.0), st.sampled_from(["usable", "degraded", "masked"])),
    min_size=1,
    max_size=40,
)


@given(steps, st.floats(0.0, 15.0))
def test_the_spans_are_what_was_true_at_each_instant(steps, after_s):
    history = StateHistory(SPAN_S)
    now_s, noted = 100.0, []
    for step_s, state in steps:
        now_s += step_s
        history.note(now_s, state)
        noted.append((now_s, state))
    now_s += after_s
    spans = history.spans(now_s)
    assert spans[-1].end_s == 0.0 and spans[-1].state == noted[-1][1]
    assert spans[0].start_s <= SPAN_S
    for older, newer in pairwise(spans):
        assert older.end_s == newer.start_s
    for span in spans:
        middle_s = now_s - (span.start_s + span.end_s) / 2
        known = [state for at_s, state in noted if at_s <= middle_s]
        if span.start_s - span.end_s > 1e-6:
            assert known[-1] == span.state
    # From the first that is known, or from the beginning of the span.
    assert spans[0].start_s == min(SPAN_S, now_s - noted[0][0])


def test_nothing_was_said_and_nothing_is_made_up():
    assert StateHistory(SPAN_S).spans(5.0) == []
    assert ValueHistory(SPAN_S).points(5.0) == []


def test_a_long_past_is_forgotten():
    history = StateHistory(SPAN_S)
    for second in range(1000):
        history.note(float(second), "masked" if second % 2 else "usable")
    assert len(history._changes) < 2 * SPAN_S
    assert [span.end_s for span in history.spans(2000.0)] == [0.0]


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(-5, 5)), max_size=30))
def test_the_points_are_those_of_the_last_seconds(steps):
    history, now_s, noted = ValueHistory(SPAN_S), 50.0, []
    for step_s, value in steps:
        now_s += step_s
        history.add(now_s, value)
        noted.append((now_s, value))
    expected = [(now_s - at_s, value) for at_s, value in noted if now_s - at_s <= SPAN_S]
    assert history.points(now_s) == expected
