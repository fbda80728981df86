"""The synchroniser as a message filter, with real topics and real timers."""

from message_filters import SimpleFilter, Subscriber
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from multismolvla.nodes.status_publisher import StatusPublisher
from multismolvla.nodes.stream_synchronizer import StreamSynchronizer
from multismolvla.sensing.health import HealthReport, State
from multismolvla.sensing.reported_health import StreamStatus
from multismolvla.streams import Stream

MS = 1_000_000


class Statuses:
    """Stands for a StatusMonitor whose news the test makes."""

    def __init__(self, **states):
        self.states = states

    def alive(self, stream):
        return self.states[stream] is not State.LOST

    def add_listener(self, listener):
        self.tell = lambda stream, state: listener(stream, StreamStatus(state=state))


def image(stamp_ns):
    message = Image()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return message


def make(graph, **options):
    inputs = {"rgb": SimpleFilter(), "depth": SimpleFilter()}
    synchronizer = StreamSynchronizer(graph.probe, inputs, slop_s=0.02, max_wait_s=0.05, **options)
    sets = []
    synchronizer.registerCallback(sets.append)
    return inputs, sets


def test_a_complete_set_comes_at_once(graph):
    inputs, sets = make(graph)
    inputs["rgb"].signalMessage(first := image(10**9))
    inputs["depth"].signalMessage(second := image(10**9 + 5 * MS))
    (made,) = sets
    assert made.messages == {"rgb": first, "depth": second}


def test_a_missing_stream_is_given_up_by_the_timer_and_the_next_set_comes_too(graph):
    inputs, sets = make(graph)
    for k in range(3):
        inputs["rgb"].signalMessage(image((k + 1) * 10**9))
        assert len(sets) == k
        graph.spin_until(lambda count=k: len(sets) > count)
        assert sets[-1].masked == {"depth": "late"}
    inputs["rgb"].signalMessage(image(4 * 10**9))
    inputs["depth"].signalMessage(image(4 * 10**9))
    assert not sets[-1].masked


def test_health_decides_whether_a_stream_is_waited_for(graph):
    statuses = Statuses(rgb=State.OK, depth=State.LOST)
    inputs, sets = make(graph, statuses=statuses)
    inputs["rgb"].signalMessage(image(10**9))
    assert sets[-1].masked == {"depth": "lost"}
    statuses.tell("depth", State.DEGRADED)
    inputs["rgb"].signalMessage(image(2 * 10**9))
    assert len(sets) == 1, "a degraded stream is worth waiting for"
    statuses.tell("depth", State.LOST)
    assert sets[-1].masked == {"depth": "lost"}


def test_over_topics_with_real_statuses(graph):
    from multismolvla.nodes.status_monitor import StatusMonitor

    probe = graph.probe
    streams = ("rgb", "depth")
    inputs = {
        name: Subscriber(probe, Image, f"{name}/image", qos_profile=qos_profile_sensor_data)
        for name in streams
    }
    monitor = StatusMonitor(probe, streams)
    synchronizer = StreamSynchronizer(probe, inputs, slop_s=0.02, max_wait_s=5.0, statuses=monitor)
    sets = []
    synchronizer.registerCallback(sets.append)
    states = {"rgb": State.OK, "depth": State.LOST}
    for name in streams:

        def report(name=name):
            state = states[name]
            return HealthReport(state, () if state is State.OK else ("stale",), "", 15.0, 0.0, 1)

        stream = Stream(name, name, 24, 32, 15.0, "camera_optical_frame")
        StatusPublisher(probe, stream, f"{name}/status", report, slow_fraction=0.75)
    publisher = probe.create_publisher(Image, "rgb/image", qos_profile_sensor_data)
    graph.spin_until(lambda: monitor.alive("rgb") and publisher.get_subscription_count())
    stamp = iter(range(10**9, 10**12, 10**8))

    def arrived():
        publisher.publish(image(next(stamp)))
        return sets

    graph.spin_until(arrived)
    assert sets[0].masked == {"depth": "lost"}
    assert sets[0].messages["rgb"].header.stamp.sec >= 1
