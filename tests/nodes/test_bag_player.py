"""A bag that is played: to nodes that listen, on its own clock, without what the stack said."""

import threading

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import StoragePlugin, Writer
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from multismolvla.data import bag_messages as messages
from multismolvla.data.recorded_bag import BagError
from multismolvla.embodiment.so101 import SO101
from multismolvla.nodes.bag_player import READY, WAITING_TASK, BagPlayer

LATCHED = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
MANY = QoSProfile(depth=200)
# Nothing is lost while this process waits for its turn on a busy machine.
MANY_IMAGES = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT)
START_NS = 1_760_000_000 * 10**9
FRAMES = 8


@pytest.fixture
def bag(tmp_path):
    """Half a second of one camera and the arm, a task, and a command of the recorded policy."""
    folder = tmp_path / "bag"
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:

        def add(topic, kind):
            return writer.add_connection(topic, kind, typestore=messages.typestore())

        camera, arm = add("/eye", messages.IMAGE), add("/joint_states", messages.JOINT_STATE)
        task = add("/task", messages.STRING)
        command = add("/joint_trajectory", messages.TRAJECTORY)
        writer.write(task, START_NS, messages.text("wave"))
        for number in range(FRAMES):
            stamp_ns = START_NS + number * 60_000_000
            frame = np.full((4, 6, 3), number, np.uint8)
            writer.write(camera, stamp_ns, messages.image("rgb", stamp_ns, frame))
            writer.write(
                arm,
                stamp_ns,
                messages.joint_state(stamp_ns, SO101.joint_names, np.full(6, 0.1 * number)),
            )
            targets = messages.trajectory(
                stamp_ns, SO101.joint_names, np.array([0]), np.zeros((1, 6))
            )
            writer.write(command, stamp_ns, targets)
    return folder


def parameters(bag, **more):
    values = {"bag": str(bag), "topics": "rgb=/eye", **more}
    return [Parameter(name, value=value) for name, value in values.items()]


def test_a_bag_is_played_once_to_a_stack_that_is_ready(graph, bag):
    heard = {name: [] for name in ("images", "joints", "tasks", "commands", "clock")}

    def listen(kind, topic, name, qos):
        graph.probe.create_subscription(kind, topic, heard[name].append, qos)

    listen(Image, "rgb/image_raw", "images", MANY_IMAGES)
    listen(JointState, "joint_states", "joints", MANY)
    listen(String, "task", "tasks", LATCHED)
    listen(JointTrajectory, "joint_trajectory", "commands", MANY)
    listen(Clock, "/clock", "clock", MANY)
    over = threading.Event()
    player = graph.add(BagPlayer(over.set, parameter_overrides=parameters(bag)))
    statuses = graph.probe.create_publisher(DiagnosticArray, "policy/status", 1)
    graph.spin_until(lambda: heard["tasks"] and statuses.get_subscription_count())
    # Until the policy is ready nothing happens, the time included.
    assert heard["tasks"][0].data == WAITING_TASK
    assert not heard["images"] and not heard["clock"]
    values = [KeyValue(key="reason", value=READY)]
    ready = DiagnosticArray(status=[DiagnosticStatus(values=values)])
    graph.probe.create_timer(0.05, lambda: statuses.publish(ready))
    graph.spin_until(lambda: over.is_set() and len(heard["images"]) == FRAMES)
    player.close()
    assert [image.data[0] for image in heard["images"]] == list(range(FRAMES))
    assert heard["images"][3].header.stamp.nanosec == 180_000_000
    assert [task.data for task in heard["tasks"]][-2:] == ["", "wave"]
    assert len(heard["joints"]) == FRAMES and not heard["commands"]
    times = [clock.clock.sec * 10**9 + clock.clock.nanosec for clock in heard["clock"]]
    assert times == sorted(times) and times[0] >= START_NS
    assert times[-1] >= START_NS + (FRAMES - 1) * 60_000_000


def test_a_bag_that_cannot_be_played_is_one_line(graph, bag, tmp_path):
    with pytest.raises(BagError, match="no such bag"):
        BagPlayer(parameter_overrides=parameters(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="parameter 'bag' is empty"):
        BagPlayer(parameter_overrides=parameters(""))
    with pytest.raises(ValueError, match="'rgb' is not NAME=TOPIC"):
        BagPlayer(parameter_overrides=parameters(bag, topics="rgb"))
