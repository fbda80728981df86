"""Times of a recorder on the clock of the stamps."""

from hypothesis import given
from hypothesis import strategies as st
from made_up_recording import EPOCH_NS, at, camera, scene, write_recording

from multismolvla.data import bag_messages as messages
from multismolvla.data.bag_clock import CLOCK, CLOCK_TYPE, BagClock, find_clock
from multismolvla.data.recorded_bag import open_bag

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


def recording(tmp_path, ahead_ns, clock=(), stamped=True):
    """A camera of ten frames; the recorder's clock is ahead of the stamps."""
    entries = camera("/rgb/image_raw", "rgb", count=10, lag_ms=3.0)
    if not stamped:
        empty = messages.image("rgb", 0, scene("rgb", 0))
        entries = [(time_ms, topic, kind, empty) for time_ms, topic, kind, _ in entries]
    for time_ms, told_ms in clock:
        told = messages.typestore().types[CLOCK_TYPE](messages.header(at(told_ms)).stamp)
        entries.append((time_ms, CLOCK, CLOCK_TYPE, messages.serialize(told, CLOCK_TYPE)))
    folder = write_recording(tmp_path / "bag", entries, EPOCH_NS + ahead_ns)
    return find_clock(open_bag(folder), ["/rgb/image_raw"])


def test_stamps_of_the_recorders_own_clock_are_left_alone(tmp_path):
    clock = recording(tmp_path, 0)
    assert clock.note == "" and clock.at(at(77.0)) == at(77.0)


def test_a_recorder_on_another_clock_is_set_back_by_what_came_soonest(tmp_path):
    clock = recording(tmp_path, 3600 * 10**9)
    assert "3600.003 s ahead" in clock.note
    assert clock.at(at(10.0) + 3600 * 10**9 + 3_000_000) == at(10.0)


def test_a_recorded_clock_is_followed_and_its_jumps_back_are_not(tmp_path):
    told = [(0.0, 0.0), (200.0, 100.0), (250.0, 20.0), (400.0, 200.0)]
    clock = recording(tmp_path, 3600 * 10**9, told)
    assert "times are those of /clock: 0.2 s in 0.4 s" in clock.note
    for logged_ms, told_ms in ((0.0, 0.0), (100.0, 50.0), (300.0, 150.0), (500.0, 300.0)):
        assert clock.at(at(logged_ms) + 3600 * 10**9) == at(told_ms)


def test_images_without_stamps_say_nothing_of_a_clock(tmp_path):
    clock = recording(tmp_path, 3600 * 10**9, stamped=False)
    assert clock.note == "" and clock.at(5) == 5
