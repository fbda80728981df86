"""The synchroniser: equal to upstream while all is well, and never silent when it is not."""

import pytest
from builtin_interfaces.msg import Time
from hypothesis import example, given, settings
from hypothesis import strategies as st
from message_filters import ApproximateTimeSynchronizer, SimpleFilter
from std_msgs.msg import Header

from multismolvla.sensing.synchronizer import Synchronizer

MS = 1_000_000
PERIOD, SLOP, WAIT = 66 * MS, 20 * MS, 40 * MS
NAMES = ("rgb", "depth", "thermal")


class Stamped:
    def __init__(self, name: str, stamp_ns: int) -> None:
        self.name = name
        self.header = Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9))
        self.stamp_ns = stamp_ns


def make(names=NAMES) -> Synchronizer:
    return Synchronizer(names, SLOP, WAIT)


def start(k: int) -> int:
    return 10**9 + k * PERIOD


def feed(synchronizer, events):
    """Feed (stream, stamp_ns, receive_ns) as they arrive, ticking at every deadline between."""
    sets = []
    for stream, stamp_ns, receive_ns in sorted(events, key=lambda event: event[2]):
        while (due := synchronizer.deadline_ns) is not None and due < receive_ns:
            sets += synchronizer.tick(due)
        sets += synchronizer.add(stream, stamp_ns, (stream, stamp_ns), receive_ns)
    while (due := synchronizer.deadline_ns) is not None:
        sets += synchronizer.tick(due)
    return sets


@settings(deadline=None)
@given(
    drifting=st.sampled_from(NAMES),
    rate=st.floats(-0.05, 0.05),
    offset=st.integers(-2 * PERIOD, 2 * PERIOD),
)
def test_a_clock_that_drifts_costs_no_other_stream_a_frame(drifting, rate, offset):
    events = []
    for k in range(60):
        for name in NAMES:
            off = offset + round(rate * k * PERIOD) if name == drifting else 0
            events.append((name, start(k) + off, start(k) + 5 * MS))
    # It is found out when the others' next frames are here: the wait is longer than a period.
    sets = feed(Synchronizer(NAMES, SLOP, PERIOD + WAIT), events)
    # Not the first, where it is not known yet who is right, nor those beyond the others' last.
    for made in (made for made in sets[4:] if made.stamp_ns < start(59)):
        missing = {name for name, message in made.messages.items() if message is None}
        assert missing <= {drifting}
    assert len(sets) >= 55


jitters = st.lists(
    st.tuples(*[st.tuples(st.integers(0, SLOP - 1), st.integers(0, WAIT // 2)) for _ in NAMES]),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(jitters)
def test_gives_the_sets_of_the_upstream_class_while_all_streams_live(jitters):
    events = []
    for k, row in enumerate(jitters):
        for name, (jitter, delay) in zip(NAMES, row, strict=True):
            stamp = start(k) + jitter
            events.append((name, stamp, stamp + delay))
    inputs = {name: SimpleFilter() for name in NAMES}
    upstream = ApproximateTimeSynchronizer(list(inputs.values()), 10, SLOP / 1e9)
    expected = []
    upstream.registerCallback(lambda *m: expected.append({x.name: x.stamp_ns for x in m}))
    for name, stamp, _ in sorted(events, key=lambda event: event[2]):
        inputs[name].signalMessage(Stamped(name, stamp))

    sets = feed(make(), events)
    assert [{n: m[1] for n, m in s.messages.items()} for s in sets] == expected
    assert len(sets) == len(jitters)
    assert not any(s.masked for s in sets)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.integers(0, 2 * 10**9),
            st.integers(-(5 * 10**7), 10**8),
            st.booleans(),
        ),
        max_size=60,
    )
)
# A set that waited comes out with the message that sets the clock back.
@example(
    [("rgb", 1_000_000_001, 1, True), ("rgb", 0, 40_000_000, True), ("rgb", 0, 40_000_000, True)]
)
# The reference's clock is set back, it dies at once, and another stream has a frame of then.
@example(
    [
        ("rgb", 1_000_000_001, 1, True),
        ("rgb", 0, 40_000_000, True),
        ("rgb", 0, 0, False),
        ("depth", 0, 0, False),
        ("thermal", 2, 0, True),
    ]
)
def test_any_input_gives_rising_matched_sets_and_bounded_memory(events):
    synchronizer = make()
    now, last = 10**9, None
    for name, stamp, step, alive in events:
        now += step
        if last is not None and stamp < last - Synchronizer.JUMP_NS:
            last = None  # the camera's clock may have been set back: time may start again
        sets = synchronizer.set_alive(name, alive, now)
        sets += synchronizer.add(name, stamp, stamp, now)
        if (due := synchronizer.deadline_ns) is not None and due <= now:
            sets += synchronizer.tick(now)
        for made in sets:
            assert made.messages[made.reference] == made.stamp_ns
            assert tuple(made.messages) == NAMES
            assert {n for n, m in made.messages.items() if m is None} == set(made.masked)
            for message in made.messages.values():
                assert message is None or abs(message - made.stamp_ns) <= SLOP
            if last is not None and stamp < last - Synchronizer.JUMP_NS:
                last = None
            assert last is None or made.stamp_ns > last + SLOP
            last = made.stamp_ns
        # A deadline in the past would make the caller's timer fire for ever.
        assert synchronizer.deadline_ns is None or synchronizer.deadline_ns > now
        assert all(len(queue) <= 10 for queue in synchronizer._queues.values())


def test_a_late_stream_is_waited_for_while_it_is_alive_and_until_the_deadline():
    synchronizer = make(("rgb", "depth"))
    t = start(0)
    assert synchronizer.add("rgb", t, "r", t) == []
    assert synchronizer.deadline_ns == t + WAIT
    assert synchronizer.tick(t + WAIT - 1) == []
    (made,) = synchronizer.tick(t + WAIT)
    assert made.messages == {"rgb": "r", "depth": None}
    assert made.masked == {"depth": "late"}
    assert synchronizer.add("depth", t, "d", t + WAIT + 1) == []  # its set is gone
    assert synchronizer.deadline_ns is None


def test_a_late_stream_completes_the_set_at_once():
    synchronizer = make(("rgb", "depth"))
    t = start(0)
    synchronizer.add("rgb", t, "r", t)
    (made,) = synchronizer.add("depth", t + SLOP, "d", t + WAIT - 1)
    assert made.messages == {"rgb": "r", "depth": "d"}
    assert not made.masked


def test_a_lost_stream_is_not_waited_for_and_not_used():
    synchronizer = make(("rgb", "depth"))
    t = start(0)
    synchronizer.add("depth", t, "garbage", t)
    synchronizer.set_alive("depth", False, t)
    (made,) = synchronizer.add("rgb", t, "r", t + 1)
    assert made.messages == {"rgb": "r", "depth": None}
    assert made.masked == {"depth": "lost"}


def test_the_news_of_a_loss_releases_the_set_that_waits():
    synchronizer = make(("rgb", "depth"))
    t = start(0)
    synchronizer.add("rgb", t, "r", t)
    (made,) = synchronizer.set_alive("depth", False, t + 5 * MS)
    assert made.masked == {"depth": "lost"}


def test_a_frame_outside_the_slop_is_skipped_without_waiting():
    synchronizer = make(("rgb", "depth"))
    t = start(0)
    synchronizer.add("depth", t + SLOP + 1, "d", t)
    (made,) = synchronizer.add("rgb", t, "r", t + 1)
    assert made.masked == {"depth": "skipped"}


def test_the_nearest_message_is_taken():
    synchronizer = make(("rgb", "depth"))
    t = start(0)
    synchronizer.add("depth", t - 15 * MS, "far", t)
    synchronizer.add("depth", t - 5 * MS, "near", t)
    (made,) = synchronizer.add("rgb", t, "r", t)
    assert made.messages["depth"] == "near"


def test_another_stream_stands_in_when_the_reference_dies_unnoticed():
    synchronizer = make()
    events = [(n, start(k), start(k)) for k in range(6) for n in NAMES if n != "rgb" or k < 2]
    sets = feed(synchronizer, events)
    assert [s.stamp_ns for s in sets] == [start(k) for k in range(6)]
    assert [s.reference for s in sets] == ["rgb"] * 2 + ["depth"] * 4
    assert all(s.masked == {"rgb": "late"} for s in sets[2:])


def test_the_stand_in_does_not_wait_once_the_reference_is_known_to_be_lost():
    synchronizer = make(("rgb", "depth"))
    synchronizer.set_alive("rgb", False, start(0))
    (made,) = synchronizer.add("depth", start(0), "d", start(0))
    assert (made.reference, made.masked) == ("depth", {"rgb": "lost"})


def test_nothing_comes_out_while_every_stream_is_lost():
    synchronizer = make(("rgb", "depth"))
    for name in ("rgb", "depth"):
        synchronizer.set_alive(name, False, start(0))
    assert synchronizer.add("rgb", start(0), "r", start(0)) == []
    assert synchronizer.deadline_ns is None


def test_a_duplicate_stamp_replaces_the_message_and_gives_one_set():
    synchronizer = make(("rgb", "depth"))
    t = start(0)
    synchronizer.add("rgb", t, "first", t)
    synchronizer.add("rgb", t, "second", t)
    (made,) = synchronizer.add("depth", t, "d", t)
    assert made.messages["rgb"] == "second"
    assert synchronizer.add("depth", t, "again", t) == []


def test_stamps_that_jump_back_with_the_reference_start_a_new_time():
    synchronizer = make(("rgb", "depth"))
    late, early = start(1000), start(0)
    synchronizer.add("rgb", late, "r", late)
    assert len(synchronizer.add("depth", late, "d", late)) == 1
    # A bag that loops: stamps start over while the clock runs on.
    synchronizer.add("rgb", early, "r", late + PERIOD)
    (made,) = synchronizer.add("depth", early, "d", late + PERIOD)
    assert made.stamp_ns == early
    assert not made.masked


def test_a_clock_that_is_set_back_does_not_stretch_the_wait():
    synchronizer = make(("rgb", "depth"))
    t = start(1000)
    synchronizer.add("rgb", t, "r", t)
    synchronizer.tick(5)
    assert synchronizer.deadline_ns == 5 + WAIT
    assert len(synchronizer.tick(5 + WAIT)) == 1


@pytest.mark.parametrize(
    "arguments", [((), 1, 1), (("a", "a"), 1, 1), (("a",), 0, 1), (("a",), 1, -1)]
)
def test_wrong_settings_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        Synchronizer(*arguments)


def test_an_unknown_stream_is_refused():
    with pytest.raises(ValueError, match="unknown stream 'sonar'"):
        make().add("sonar", 0, None, 0)


def test_a_machine_that_runs_late_makes_sets_wait_longer():
    synchronizer = make(("rgb", "depth"))
    synchronizer.excused_ns = 100 * MS
    assert not synchronizer.add("rgb", start(0), "rgb", start(0))
    assert synchronizer.deadline_ns == start(0) + WAIT + 100 * MS
    assert not synchronizer.tick(start(0) + WAIT)
    (made,) = synchronizer.add("depth", start(0), "depth", start(0) + WAIT + 50 * MS)
    assert not made.masked


@given(
    phase=st.integers(0, 2 * PERIOD),
    periods=st.sampled_from((1, 2)),
    lost=st.sets(st.integers(0, 39), max_size=10),
)
def test_with_windows_two_synchronisers_choose_the_same_images(phase, periods, lost):
    """One of them misses some messages, and the camera may send half as many by itself."""
    whole, other = make(("rgb",)), make(("rgb",))
    for one in (whole, other):
        one.window_ns = 2 * PERIOD
    taken: list[set[int]] = [set(), set()]
    for k in range(40):
        stamp_ns = start(k * periods) + phase
        for one, kept, missing in ((whole, taken[0], ()), (other, taken[1], lost)):
            if k not in missing:
                kept.update(made.stamp_ns for made in one.add("rgb", stamp_ns, k, stamp_ns))
    assert len(taken[0]) in ((20, 21) if periods == 1 else (40,))
    # A missed message costs its own window only.
    assert len(taken[1] - taken[0]) <= len(lost)
