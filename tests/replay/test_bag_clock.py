"""Times of a recorder on the clock of the stamps."""

from hypothesis import given
from hypothesis import strategies as st

from multismolvla.data.bag_clock import BagClock

TIMES = st.integers(0, 2 * 10**18)


@given(TIMES)
def test_the_same_clock_changes_nothing(time_ns):
    assert BagClock().at(time_ns) == time_ns


@given(TIMES, TIMES)
def test_a_constant_shift(shift_ns, time_ns):
    assert BagClock((shift_ns,), (0,)).at(time_ns) == time_ns - shift_ns


def test_a_clock_that_runs_at_half_speed_and_stands_still():
    second, epoch = 10**9, 1_760_000_000 * 10**9
    logged = [epoch, epoch + 10 * second, epoch + 12 * second]
    clock = BagClock(logged, [7 * second, 12 * second, 12 * second])
    assert clock.at(epoch + 2) == 7 * second + 1
    assert clock.at(epoch + 4 * second) == 9 * second
    assert clock.at(epoch + 11 * second) == 12 * second
    # Beyond the ends nobody has told.
    assert clock.at(epoch - second) == 6 * second
    assert clock.at(epoch + 13 * second) == 13 * second


@given(st.lists(st.tuples(st.integers(1, 10**10), st.integers(0, 10**10)), min_size=2, max_size=9))
def test_time_never_goes_back(steps):
    logged, told = [10**18], [0]
    for logged_step, told_step in steps:
        logged.append(logged[-1] + logged_step)
        told.append(told[-1] + told_step)
    clock = BagClock(logged, told)
    step = max(1, (logged[-1] - logged[0]) // 50)
    asked = [clock.at(time_ns) for time_ns in range(logged[0] - 5, logged[-1] + 5, step)]
    assert asked == sorted(asked)
    assert [clock.at(t) for t in logged] == told
