"""The RViz file on the running stack: RViz would get every topic in it, in frames of the URDF."""

import signal
import subprocess
from pathlib import Path as FilePath
from xml.etree import ElementTree

import pytest
import yaml
from nav_msgs.msg import Path
from patience import HANG_S
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import Marker, MarkerArray

from multismolvla.nodes.depth_node import DepthNode
from multismolvla.nodes.monitor_node import MonitorNode
from multismolvla.nodes.rgb_node import RgbNode
from multismolvla.nodes.segmentation_node import SegmentationNode
from multismolvla.nodes.sim_node import SimNode
from multismolvla.nodes.thermal_node import ThermalNode

ROOT = FilePath(__file__).parents[2]
RVIZ = yaml.safe_load((ROOT / "config" / "multismolvla.rviz").read_text())["Visualization Manager"]
# Class -> what the display subscribes to; None: to nothing that the file names.
TYPES = {
    "Grid": None,
    "TF": None,
    "Image": Image,
    "Marker": Marker,
    "MarkerArray": MarkerArray,
    "Path": Path,
    "PointCloud2": PointCloud2,
    "RobotModel": String,
}
TOPIC_KEYS = {"RobotModel": "Description Topic"}
RELIABILITY = {
    "Reliable": ReliabilityPolicy.RELIABLE,
    "Best Effort": ReliabilityPolicy.BEST_EFFORT,
}
DURABILITY = {
    "Volatile": DurabilityPolicy.VOLATILE,
    "Transient Local": DurabilityPolicy.TRANSIENT_LOCAL,
}


def subscribed_to() -> dict[str, tuple[type, QoSProfile]]:
    """Topic -> type and QoS with which RViz would subscribe."""
    found = {}
    for display in RVIZ["Displays"]:
        package, _, kind = display["Class"].partition("/")
        assert package == "rviz_default_plugins", display
        if TYPES[kind] is None:
            continue
        topic = display[TOPIC_KEYS.get(kind, "Topic")]
        qos = QoSProfile(
            depth=topic["Depth"],
            reliability=RELIABILITY[topic["Reliability Policy"]],
            durability=DURABILITY[topic["Durability Policy"]],
        )
        assert topic["Value"] not in found, "two displays of one topic"
        # Relative, so that it is found in a namespace, too.
        assert not topic["Value"].startswith("/")
        found[topic["Value"]] = (TYPES[kind], qos)
    return found


def frames_of(message) -> set[str]:
    headers = [entry.header for entry in getattr(message, "markers", ())]
    headers += [entry.header for entry in getattr(message, "poses", ())]
    if hasattr(message, "header"):
        headers.append(message.header)
    return {header.frame_id for header in headers}


@pytest.fixture
def stack(graph, tmp_path):
    """The graph with every node that RViz listens to, on cameras that are slow and small."""
    content = yaml.safe_load((ROOT / "config" / "streams.yaml").read_text())
    for stream in content["streams"]:
        stream |= {"height": 32, "width": 32, "rate_hz": 2.0}
    table = tmp_path / "streams.yaml"
    table.write_text(yaml.safe_dump(content))
    streams_file = Parameter("streams_file", value=str(table))
    for kind in (RgbNode, DepthNode, ThermalNode, SegmentationNode):
        for view in ("", "wrist"):
            stream = Parameter("stream", value=f"{view}/{kind.kind}".strip("/"))
            graph.add(kind(namespace=view, parameter_overrides=[stream, streams_file]))
    graph.add(MonitorNode(parameter_overrides=[streams_file]))
    simulator = graph.add(SimNode(parameter_overrides=[streams_file]))
    yield graph
    simulator.close()


def test_rviz_gets_every_topic_of_the_file_in_frames_of_the_robot(stack):
    received = {}
    topics = subscribed_to()
    for topic, (kind, qos) in topics.items():
        stack.probe.create_subscription(
            kind, topic, lambda message, topic=topic: received.setdefault(topic, message), qos
        )
    stack.spin_until(lambda: set(received) == set(topics))

    robot = ElementTree.fromstring(received["robot_description"].data)
    links = {link.get("name") for link in robot.iter("link")}
    assert RVIZ["Global Options"]["Fixed Frame"] in links
    frames = {topic: frames_of(message) for topic, message in received.items()}
    for topic in topics:
        assert frames[topic] <= links, topic
    # The check above would pass where there are none.
    assert frames["monitor/health"] == frames["monitor/planned_path"] == {"base_link"}
    assert frames["depth/points"] == {"top_camera_optical_frame"}
    assert frames["wrist/segmentation/image"] == {"wrist_camera_optical_frame"}


def test_the_launch_file_opens_the_only_rviz_file():
    assert '"multismolvla.rviz"' in (ROOT / "launch" / "monitor.launch.py").read_text()
    assert [path.name for path in (ROOT / "config").glob("*.rviz")] == ["multismolvla.rviz"]


def test_the_launch_file_serves_the_robot_in_its_namespace(graph, tmp_path):
    urdf = tmp_path / "other.urdf"
    text = "<robot name='other'><link name='base_link'/></robot>"
    urdf.write_text(text)
    described = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    graph.probe.create_subscription(String, "/left/robot_description", described.append, latched)
    command = ["ros2", "launch", "multismolvla", "monitor.launch.py", "rviz:=false"]
    process = subprocess.Popen(
        [*command, "namespace:=left", f"urdf:={urdf}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        graph.spin_until(lambda: described)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(HANG_S)
    assert described[0].data == text
