"""One recording through the live nodes, a replay and the training reader: the same frames."""

from functools import partial

import numpy as np
import pytest
from cv_bridge import CvBridge
from made_up_recording import arm, camera, info, png, scene, write_recording
from message_filters import Subscriber
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from multismolvla.data import bag_messages as messages
from multismolvla.data.recording import open_recording
from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.camera_image import raw_frame
from multismolvla.modalities.conversion import to_counts
from multismolvla.modalities.registry import find_modality
from multismolvla.nodes.depth_node import DepthNode
from multismolvla.nodes.rgb_node import RgbNode
from multismolvla.nodes.status_monitor import StatusMonitor
from multismolvla.nodes.stream_synchronizer import StreamSynchronizer
from multismolvla.nodes.thermal_node import ThermalNode
from multismolvla.sensing.lag import Waiting
from multismolvla.sensing.synchronizer import SynchronizedSet
from multismolvla.stack.recorded_perception import perceived
from multismolvla.streams import load_stream_table
from multismolvla.training.dataset.robot_bag import read_robot_bag

SLOP_S, MAX_WAIT_S = 0.03, 0.1
SCALE, OFFSET = 0.02, -563.0
FRAMES, FROZEN_FROM, SILENT_FROM = 20, 10, 14


@pytest.fixture
def streams_file(tmp_path):
    file = tmp_path / "streams.yaml"
    sizes = {"rgb": (96, 96), "depth": (32, 40), "thermal": (24, 32)}
    file.write_text(
        "streams:\n"
        + "".join(
            f"  - {{name: {kind}, kind: {kind}, height: {height}, width: {width}, rate_hz: 15.0, "
            f"frame_id: top_{kind}_optical_frame}}\n"
            for kind, (height, width) in sizes.items()
        )
    )
    return file


@pytest.fixture
def bag(tmp_path):
    """Three cameras: one freezes, one falls silent, the counts of the third have a scale."""

    def rgb(number):
        return scene("rgb", min(number, FROZEN_FROM))

    def depth(number):
        return scene("depth", number) if number < SILENT_FROM else None

    told = info(**{"/thermal_node": {"scale": SCALE, "offset": OFFSET}})
    entries = [*arm(), (0.0, "/recording_info", messages.STRING, told)]
    entries += camera("/rgb/image_raw/compressed", "rgb", FRAMES, encode=png, frames=rgb)
    entries += camera("/depth/image_raw", "depth", FRAMES, start_ms=14.0, frames=depth)
    entries += camera("/thermal/image_raw", "thermal", FRAMES, start_ms=6.0)
    return write_recording(tmp_path / "bag", entries)


def live_sets(graph, recording, streams_file):
    """Play every event at its time to the sensor nodes; return what the policy node would get."""
    scale = {"scale": SCALE, "offset": OFFSET}
    common = {"streams_file": str(streams_file), "use_sim_time": True}
    nodes = {}
    for kind, make in (("rgb", RgbNode), ("depth", DepthNode), ("thermal", ThermalNode)):
        values = {**common, **(scale if kind == "thermal" else {})}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        nodes[kind] = graph.add(make(parameter_overrides=overrides))
    graph.probe.set_parameters([Parameter("use_sim_time", value=True)])
    inputs = {
        kind: Subscriber(graph.probe, Image, f"{kind}/image", qos_profile=qos_profile_sensor_data)
        for kind in nodes
    }
    statuses = StatusMonitor(graph.probe, list(nodes))
    synchronizer = StreamSynchronizer(
        graph.probe, inputs, slop_s=SLOP_S, max_wait_s=MAX_WAIT_S, statuses=statuses
    )
    sets = []
    synchronizer.registerCallback(sets.append)
    clock = graph.probe.create_publisher(Clock, "/clock", QoSProfile(depth=10))
    raw = {
        kind: graph.probe.create_publisher(Image, f"{kind}/image_raw", qos_profile_sensor_data)
        for kind in nodes
    }
    everyone = [*nodes.values(), graph.probe]
    # A node's clock subscribes by itself.
    graph.spin_until(lambda: clock.get_subscription_count() >= len(everyone))
    graph.spin_until(lambda: all(output.get_subscription_count() for output in raw.values()))
    came = dict.fromkeys(nodes, 0)

    def pass_time(now_ns):
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now_ns, 10**9)
        clock.publish(message)
        graph.spin_until(lambda: all(n.get_clock().now().nanoseconds == now_ns for n in everyone))

    def taken(kind):
        """Whether the node has judged every frame, and its last word is known."""
        health = nodes[kind]._pipe.health
        frames, state = health.report(0).frames, statuses.statuses[kind].state
        return frames == came[kind] and state == health.state

    for topic, now_ns, data in recording.bag.messages(recording.played):
        kind = recording.played[topic]
        if kind not in raw:
            continue
        pass_time(now_ns)
        if recording.bag.topics[topic].type_name == messages.COMPRESSED_IMAGE:
            message = messages.typestore().deserialize_cdr(data, messages.COMPRESSED_IMAGE)
            frame = raw_frame(find_modality(kind), message)
            data = messages.image(kind, messages.stamp_of(message.header), frame)
        raw[kind].publish(data)
        came[kind] += 1
        graph.spin_until(partial(taken, kind))
    # The set of the last frames waits for the camera that is silent.
    for step in range(1, 11):
        pass_time(now_ns + step * 50_000_000)
    return sets


def test_live_nodes_replay_and_training_see_the_same_frames(graph, bag, streams_file, monkeypatch):
    # How long a message waits for this process is the machine's affair, not the recording's.
    monkeypatch.setattr(Waiting, "of", lambda *_: 0)
    table = load_stream_table(streams_file)
    recording = open_recording(bag, table, SO101)
    replayed = [made for made in perceived(recording) if isinstance(made, SynchronizedSet)]
    bridge = CvBridge()
    live = {
        made.stamp_ns: {
            name: None if message is None else bridge.imgmsg_to_cv2(message, "passthrough")
            for name, message in made.messages.items()
        }
        for made in live_sets(graph, recording, streams_file)
    }
    # Image and status of the frame that brings a stream into use may come in either order.
    assert set(live) - {made.stamp_ns for made in replayed} <= {min(live)}
    assert len(replayed) >= FRAMES - 6
    for made in replayed:
        for name, frame in made.messages.items():
            np.testing.assert_array_equal(live[made.stamp_ns][name], frame, err_msg=name)
    used = {n: sum(made.messages[n] is not None for made in replayed) for n in table.names}
    assert used["rgb"] < used["depth"] < used["thermal"] == len(replayed)

    (episode,) = read_robot_bag(bag, table, SO101)
    for name in table.names:
        frames = [made.messages[name] for made in replayed if made.messages[name] is not None]
        counts = np.stack([to_counts(table[name].modality, frame) for frame in frames])
        np.testing.assert_array_equal(episode.frames[name], counts)
