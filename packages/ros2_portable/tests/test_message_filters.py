"""message_filters: what the original's users rely on."""

import itertools
import random
import threading
from types import SimpleNamespace

import message_filters
import pytest
import rclpy
from builtin_interfaces.msg import Time as TimeMsg
from hypothesis import given, settings
from hypothesis import strategies as st
from message_filters import (
    ApproximateTimeSynchronizer,
    Cache,
    SimpleFilter,
    Subscriber,
    TimeSynchronizer,
)
from patience import HANG_S
from rclpy.clock import ROSClock
from rclpy.duration import Duration
from rclpy.task import Future
from rclpy.time import Time
from std_msgs.msg import Header, String

SECOND_NS = 10**9


def stamped(stamp_ns: int, data: object = None) -> SimpleNamespace:
    """Return a message whose stamp is an rclpy Time."""
    return SimpleNamespace(
        header=SimpleNamespace(stamp=Time(nanoseconds=stamp_ns)), data=data or stamp_ns
    )


def collected(synchronizer: SimpleFilter) -> list[tuple]:
    sets: list[tuple] = []
    synchronizer.registerCallback(lambda *messages: sets.append(messages))
    return sets


def brute_force(events, inputs: int, queue_size: int, slop_ns: int) -> list[list[int]]:
    """The original's rule, spelled out: try every combination, nearest candidates first."""
    queues: list[dict[int, int]] = [{} for _ in range(inputs)]
    sets = []
    for index, stamp in events:
        queues[index][stamp] = stamp
        while len(queues[index]) > queue_size:
            queues[index].pop(min(queues[index]))
        others = [
            sorted((k for k in q if abs(k - stamp) <= slop_ns), key=lambda k: abs(k - stamp))
            for i, q in enumerate(queues)
            if i != index
        ]
        for combination in itertools.product(*others):
            chosen = list(combination)
            chosen.insert(index, stamp)
            present = all(key in queue for key, queue in zip(chosen, queues, strict=True))
            if present and max(chosen) - min(chosen) < slop_ns:
                sets.append([queue.pop(key) for key, queue in zip(chosen, queues, strict=True)])
                break
    return sets


@settings(max_examples=80, deadline=None)
@given(
    events=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60)), max_size=60),
    queue_size=st.integers(1, 5),
    slop=st.integers(0, 12),
)
def test_approximate_synchronizer_gives_the_sets_of_the_exhaustive_search(events, queue_size, slop):
    inputs = [SimpleFilter() for _ in range(3)]
    synchronizer = ApproximateTimeSynchronizer(inputs, queue_size, slop)
    sets = collected(synchronizer)
    for index, second in events:
        inputs[index].signalMessage(stamped(second * SECOND_NS, second + 1))
    expected = brute_force(events, 3, queue_size, slop)
    assert [[message.data - 1 for message in messages] for messages in sets] == expected


def test_approximate_synchronizer_pairs_shuffled_sequences():
    for length in range(1, 10):
        first, second = SimpleFilter(), SimpleFilter()
        sets = collected(ApproximateTimeSynchronizer([first, second], length, 0.1))
        left = [stamped(i * SECOND_NS, f"l{i}") for i in range(length)]
        right = [stamped(i * SECOND_NS, f"r{i}") for i in range(length)]
        for message in random.Random(length).sample(left, length):
            first.signalMessage(message)
        assert sets == []
        for message in random.Random(-length).sample(right, length):
            second.signalMessage(message)
        pairs = {(a.data, b.data) for a, b in sets}
        assert pairs == {(f"l{i}", f"r{i}") for i in range(length)}


def test_headerless_messages_are_dropped_or_stamped_on_arrival():
    for allowed, expected in ((False, 0), (True, 1)):
        first, second = SimpleFilter(), SimpleFilter()
        sets = collected(ApproximateTimeSynchronizer([first, second], 5, 10.0, allowed))
        first.signalMessage(stamped(ROSClock().now().nanoseconds))
        second.signalMessage(String(data="no header"))
        assert len(sets) == expected


def test_arrival_time_synchronizes_whatever_the_stamps_say():
    first, second = SimpleFilter(), SimpleFilter()
    sets = collected(ApproximateTimeSynchronizer([first, second], 5, 10.0, sync_arrival_time=True))
    first.signalMessage(stamped(0))
    second.signalMessage(stamped(10**6 * SECOND_NS))
    assert len(sets) == 1


@pytest.mark.parametrize("gap_ns", [-20, 0, 20])
def test_long_queues_stay_affordable(gap_ns):
    # Exhaustive search would try up to 20**7 combinations for a message.
    inputs = [SimpleFilter() for _ in range(8)]
    sets = collected(ApproximateTimeSynchronizer(inputs, 20, 1.0))
    for index, each in enumerate(inputs[:7]):
        side = 0 if index % 2 else SECOND_NS + gap_ns  # Near the last message, hardly together.
        for i in range(20):
            each.signalMessage(stamped(side + i))
    inputs[7].signalMessage(stamped(SECOND_NS // 2))
    assert len(sets) == (gap_ns < 20)


def test_exact_synchronizer_pairs_equal_stamps_of_messages():
    first, second = SimpleFilter(), SimpleFilter()
    sets = collected(TimeSynchronizer([first, second], 10))
    messages = [
        SimpleNamespace(header=Header(stamp=TimeMsg(sec=sec, nanosec=5))) for sec in (0, 1, 0, 1)
    ]
    for source, message in zip((first, first, second, second), messages, strict=True):
        source.signalMessage(message)
    assert sets == [(messages[0], messages[2]), (messages[1], messages[3])]


def test_exact_synchronizer_forgets_what_is_older_than_the_last_set():
    first, second = SimpleFilter(), SimpleFilter()
    sets = collected(TimeSynchronizer([first, second], 10))
    first.signalMessage(stamped(0))
    second.signalMessage(stamped(1))
    first.signalMessage(stamped(1))
    second.signalMessage(stamped(0))
    assert len(sets) == 1


def test_callbacks_may_feed_the_synchronizer_from_several_threads():
    first, second = SimpleFilter(), SimpleFilter()
    synchronizer = TimeSynchronizer([first, second], 500)
    sets = collected(synchronizer)
    # A callback that feeds an input must not deadlock.
    synchronizer.registerCallback(
        lambda a, _: first.signalMessage(stamped(10**6)) if a.data == 1 else None
    )

    def feed(source: SimpleFilter, stamps: range) -> None:
        for stamp in stamps:
            source.signalMessage(stamped(stamp))

    feed(first, range(1, 401))
    threads = [threading.Thread(target=feed, args=(second, range(k, 401, 4))) for k in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each set once; those that a later stamp overtook are dropped.
    stamps = [a.data for a, b in sets if a.data == b.data]
    assert len(stamps) == len(set(stamps)) == len(sets)
    assert stamps == sorted(stamps)
    assert 400 in stamps


def test_cache_answers_by_time():
    source = SimpleFilter()
    cache = Cache(source, 5)
    assert cache.getLast() is None
    assert cache.getOldestTime() is None
    for second in range(5):
        source.signalMessage(stamped(second * SECOND_NS))
    at = lambda seconds: Time(seconds=seconds)  # noqa: E731
    assert len(cache.getInterval(at(2.5), at(3.5))) == 1
    assert len(cache.getInterval(at(2), at(3))) == 2
    assert cache.getElemAfterTime(at(0)).header.stamp == at(0)
    assert cache.getElemBeforeTime(at(3.5)).header.stamp == at(3)
    assert cache.getElemAfterTime(at(9)) is None
    assert (cache.getOldestTime(), cache.getLastestTime()) == (at(0), at(4))
    source.signalMessage(stamped(5 * SECOND_NS))
    assert cache.getOldestTime() == at(1)
    assert cache.getLast().header.stamp == at(5)


def test_cache_of_headerless_messages():
    cache = Cache(SimpleFilter(), 5, allow_headerless=True)
    outputs = collected(cache)
    before = ROSClock().now()
    cache.add(String(data="a"))
    assert len(cache.getInterval(before, ROSClock().now() + Duration(seconds=1))) == 1
    assert len(outputs) == 1
    refusing = Cache(SimpleFilter(), 5)
    refusing.add(String(data="a"))
    assert refusing.getLast() is None


def test_connections_end_and_are_not_reused():
    source, received = SimpleFilter(), []
    gone = source.registerCallback(lambda *args: received.append(("gone", *args)))
    source.registerCallback(lambda *args: received.append(("kept", *args)), "extra")
    source.unregisterCallback(gone)
    source.unregisterCallback(gone)
    source.registerCallback(lambda *args: received.append(("new", *args)))
    source.signalMessage(1)
    assert received == [("kept", 1, "extra"), ("new", 1)]


def test_subscriber_passes_messages_of_its_topic():
    rclpy.init()
    node = rclpy.create_node("listener")
    subscriber = Subscriber(node, String, "words", qos_profile=5)
    received = Future()
    subscriber.registerCallback(lambda msg: received.done() or received.set_result(msg))
    publisher = node.create_publisher(String, "words", 5)
    node.create_timer(0.02, lambda: publisher.publish(String(data="hello")))
    rclpy.spin_until_future_complete(node, received, timeout_sec=HANG_S)
    assert received.result().data == "hello"
    assert subscriber.getTopic() == "words"
    assert subscriber.topic_name == "/words"  # An attribute of the subscription.
    node.destroy_node()
    rclpy.shutdown()


def test_what_is_missing_names_the_real_package():
    with pytest.raises(ImportError, match="the package message_filters of ROS 2"):
        _ = message_filters.Chain
