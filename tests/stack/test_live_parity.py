"""The same messages at the same instants through the nodes and through the stack without ROS."""

from collections import Counter

import numpy as np
import pytest
import yaml
from cv_bridge import CvBridge
from made_up_recording import scene
from message_filters import Subscriber
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from multismolvla.control.policy_view import PolicyView
from multismolvla.nodes import segmentation_node, stream_synchronizer
from multismolvla.nodes.depth_node import DepthNode
from multismolvla.nodes.rgb_node import RgbNode
from multismolvla.nodes.segmentation_node import SegmentationNode
from multismolvla.nodes.status_monitor import StatusMonitor
from multismolvla.nodes.stream_synchronizer import StreamSynchronizer
from multismolvla.nodes.thermal_node import ThermalNode
from multismolvla.sensing.lag import LagMeter, Waiting
from multismolvla.sensing.pressure import CpuPressure
from multismolvla.sensing.synchronizer import Synchronizer
from multismolvla.stack import perception
from multismolvla.stack.perception import Perception
from multismolvla.stack.settings import load_settings
from multismolvla.streams import load_stream_table

NODES = {"rgb": RgbNode, "depth": DepthNode, "thermal": ThermalNode}
ENCODINGS = {"rgb": "rgb8", "depth": "16UC1", "thermal": "mono16"}
START_NS, PERIOD_NS, STEP_NS = 1_000_000_000, 66_666_667, 20_000_000
# How long after its stamp a frame of each camera comes.
DELAYS_NS = {"rgb": 3_000_000, "depth": 12_000_000, "thermal": 7_000_000}
INSTANTS = 26
FROZEN, SILENT, BROKEN = range(9, 15), range(12, 18), range(20, 21)
BRIDGE = CvBridge()


class CountingSynchronizer(Synchronizer):
    """Counts the images that have come, of each stream."""

    def __init__(self, *args):
        super().__init__(*args)
        self.came = Counter()

    def add(self, stream, *args):
        self.came[stream] += 1
        return super().add(stream, *args)


class Painter:
    """Labels by rows of the first kind that there is, so that labels show what they are made of."""

    inputs = ("rgb", "depth", "thermal")

    def predict(self, frames):
        labels = np.zeros((24, 32), np.uint8)
        for row, kind in enumerate(self.inputs):
            if frames.get(kind) is not None:
                assert frames[kind].shape[:2] == labels.shape
                labels[8 * row :] = 1 + row + int(np.nan_to_num(frames[kind]).sum()) % 4
        return labels

    def predict_batch(self, instants):
        return [self.predict(frames) for frames in instants]


@pytest.fixture(autouse=True)
def nothing_but_the_messages(monkeypatch):
    """How late this machine runs, and how long labels take, is no part of what is compared."""
    monkeypatch.setattr(Waiting, "of", lambda *_: 0)
    monkeypatch.setattr(LagMeter, "worst_s", lambda *_: 0.0)
    monkeypatch.setattr(CpuPressure, "waited_s", lambda *_: 0.0)
    monkeypatch.setattr(perception, "LABELLING_NS", 0)
    monkeypatch.setattr(perception, "Synchronizer", CountingSynchronizer)
    monkeypatch.setattr(stream_synchronizer, "Synchronizer", CountingSynchronizer)
    monkeypatch.setattr(segmentation_node, "_create_segmenter", lambda *_: Painter())


@pytest.fixture
def streams_file(tmp_path):
    streams = [
        {"name": kind, "kind": kind, "height": 24, "width": 32, "rate_hz": 15.0}
        | {"frame_id": f"{kind}_optical_frame"}
        | ({"derived_from": list(NODES)} if kind == "segmentation" else {})
        for kind in (*NODES, "segmentation")
    ]
    path = tmp_path / "streams.yaml"
    path.write_text(yaml.safe_dump({"streams": streams}))
    return path


def recorded():
    """(arrival, kind, message) in order: one camera freezes, one is silent, one sends rubbish."""
    messages = []
    for number in range(INSTANTS):
        stamp_ns = START_NS + number * PERIOD_NS
        for kind, delay_ns in DELAYS_NS.items():
            if kind == "depth" and number in SILENT:
                continue
            seen = FROZEN.start if kind == "rgb" and number in FROZEN else number
            header = Header(frame_id=f"{kind}_optical_frame")
            header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 10**9)
            message = BRIDGE.cv2_to_imgmsg(scene(kind, seen), ENCODINGS[kind], header)
            if kind == "thermal" and number in BROKEN:
                message.data = message.data[:100]
            messages.append((stamp_ns + delay_ns, kind, message))
    return sorted(messages, key=lambda entry: entry[0])


def instants():
    """(time, kind and message, or None twice where time passes)."""
    messages = recorded()
    end_ns = messages[-1][0] + 300_000_000
    grid = [(now_ns, None, None) for now_ns in range(START_NS, end_ns, STEP_NS)]
    return sorted([*messages, *grid], key=lambda entry: entry[0])


def without_ros(table):
    """Statuses and how many images had come after each instant, and every set."""
    sets, after = {}, []
    view = PolicyView(table, 0.5)
    stack = Perception(
        table,
        view,
        {},
        load_settings(),
        segmenter=Painter(),
        on_set=lambda _, made: sets.update({made.stamp_ns: made}),
    )
    for now_ns, kind, message in instants():
        if kind is not None:
            stamp = message.header.stamp
            stamp_ns = stamp.sec * 10**9 + stamp.nanosec
            if len(message.data) < message.height * message.step:
                stack.refuse(kind, "truncated", now_ns)
            else:
                pixels = BRIDGE.imgmsg_to_cv2(message, "passthrough")
                stack.send(kind, pixels, stamp_ns, now_ns)
        # The second time for the labels that were made at this instant.
        stack.advance(now_ns)
        stack.advance(now_ns)
        after.append((stack.statuses(now_ns), stack._synchronizer.came.copy()))
    return after, sets


def live(graph, streams_file, expected):
    """Every set; statuses and images must become the expected ones at each instant."""
    common = [
        Parameter("streams_file", value=str(streams_file)),
        Parameter("use_sim_time", value=True),
    ]
    nodes = {
        kind: graph.add(make(parameter_overrides=common))
        for kind, make in {**NODES, "segmentation": SegmentationNode}.items()
    }
    graph.probe.set_parameters([Parameter("use_sim_time", value=True)])
    policy = load_settings().policy
    inputs = {
        kind: Subscriber(graph.probe, Image, f"{kind}/image", qos_profile=qos_profile_sensor_data)
        for kind in nodes
    }
    statuses = StatusMonitor(graph.probe, list(nodes))
    synchronizer = StreamSynchronizer(
        graph.probe,
        inputs,
        slop_s=policy.slop_s,
        max_wait_s=policy.max_wait_s,
        statuses=statuses,
    )
    sets = {}
    synchronizer.registerCallback(lambda made: sets.update({made.stamp_ns: made}))
    clock = graph.probe.create_publisher(Clock, "/clock", QoSProfile(depth=10))
    cameras = {
        kind: graph.probe.create_publisher(Image, f"{kind}/image_raw", qos_profile_sensor_data)
        for kind in NODES
    }
    everyone = [*nodes.values(), graph.probe]
    graph.spin_until(lambda: clock.get_subscription_count() >= len(everyone))
    graph.spin_until(lambda: all(camera.get_subscription_count() for camera in cameras.values()))
    graph.spin_until(
        lambda: all(nodes[kind]._image.get_subscription_count() == 2 for kind in cameras)
    )
    graph.spin_until(lambda: graph.probe.count_subscribers("rgb/status") == 2)
    came = dict.fromkeys(cameras, 0)

    def as_expected(now, images):
        # An image may come after the status that it led to, and time must not pass it by.
        if synchronizer._core.came != images:
            return False
        known = {
            kind: (status.state.name, ",".join(status.reasons))
            for kind, status in statuses.statuses.items()
        }
        # No status was sent before the first change.
        return all(known[kind] == now[kind] or "status_late" in known[kind][1] for kind in nodes)

    for (now_ns, kind, message), after in zip(instants(), expected, strict=True):
        time = Clock()
        time.clock.sec, time.clock.nanosec = divmod(now_ns, 10**9)
        clock.publish(time)
        graph.spin_until(
            lambda at=now_ns: all(n.get_clock().now().nanoseconds == at for n in everyone)
        )
        if kind is not None:
            cameras[kind].publish(message)
            came[kind] += 1
            graph.spin_until(lambda k=kind: nodes[k]._pipe.health.report(0).frames == came[k])
        graph.spin_until(lambda after=after: as_expected(*after))
    return sets


def test_nodes_and_stack_give_the_same_states_sets_and_pixels(graph, streams_file):
    table = load_stream_table(streams_file)
    after, expected = without_ros(table)
    seen = {(kind, *status) for statuses, _ in after for kind, status in statuses.items()}
    # What happens is what was meant to happen.
    assert {
        ("rgb", "LOST", "frozen"),
        ("depth", "LOST", "stale"),
        ("thermal", "LOST", "invalid"),
        ("segmentation", "LOST", "stale"),
        ("segmentation", "DEGRADED", "frozen,stale"),
    } <= seen
    assert len(expected) > 15

    sets = live(graph, streams_file, after)
    # Image and status of the frame that brings a stream into use may come in either order.
    assert set(sets) ^ set(expected) <= {min(sets), min(expected)}
    for stamp_ns in sets.keys() & expected.keys():
        made, wanted = sets[stamp_ns], expected[stamp_ns]
        for kind, frame in wanted.messages.items():
            message = made.messages[kind]
            assert (message is None) == (frame is None), (stamp_ns, kind)
            if message is not None:
                pixels = BRIDGE.imgmsg_to_cv2(message, "passthrough")
                np.testing.assert_array_equal(pixels, frame, err_msg=f"{kind} {stamp_ns}")
        assert made.masked == wanted.masked, stamp_ns
