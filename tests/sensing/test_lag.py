"""How late a process runs: the worst of the window, and no clock that was set taken for a wait."""

from hypothesis import given
from hypothesis import strategies as st

from multismolvla.sensing.lag import CLOCK_STEP_NS, LagMeter, Waiting

S = 1_000_000_000
EVENTS = st.lists(st.tuples(st.integers(0, S // 2), st.integers(-S, S)), max_size=50)


@given(events=EVENTS, after_ns=st.integers(0, 2 * S))
def test_the_worst_lag_of_the_window_is_that_of_all_its_lags(events, after_ns):
    meter, now_ns, noted = LagMeter(window_s=1.0), 0, []
    for pause_ns, lag_ns in events:
        now_ns += pause_ns
        meter.note(now_ns, lag_ns)
        noted.append((now_ns, lag_ns))
    now_ns += after_ns
    recent = [lag_ns for at_ns, lag_ns in noted if at_ns >= now_ns - S]
    assert meter.worst_s(now_ns) == max([0, *recent]) * 1e-9


def test_a_message_has_waited_since_it_arrived():
    assert Waiting().of(5 * S, 5 * S + 300, 100) == 300


def test_a_time_of_arrival_that_is_unknown_or_ahead_is_no_wait():
    waiting = Waiting()
    assert waiting.of(0, 5 * S, 100) == 0
    assert waiting.of(6 * S, 5 * S, 100) == 0


@given(step_ns=st.integers(CLOCK_STEP_NS + 1, 10**6 * S), sign=st.sampled_from((-1, 1)))
def test_a_clock_that_is_set_is_no_wait_and_the_next_message_is_timed_again(step_ns, sign):
    waiting = Waiting()
    system_ns, monotonic_ns = 10**9 * S, 0
    assert waiting.of(system_ns - 7, system_ns, monotonic_ns) == 7
    arrival_ns = system_ns + 5
    system_ns, monotonic_ns = system_ns + S + sign * step_ns, monotonic_ns + S
    assert waiting.of(arrival_ns, system_ns, monotonic_ns) == 0
    assert waiting.of(system_ns + 1, system_ns + 9, monotonic_ns + 9) == 8
