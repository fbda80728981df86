"""monitor_node: shows what is true while somebody looks, costs nothing otherwise, and survives."""

import array

import numpy as np
import pytest
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from nav_msgs.msg import Path
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, JointState, PointCloud2
from std_msgs.msg import Header, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from visualization_msgs.msg import Marker, MarkerArray

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.nodes.monitor_node import MonitorNode
from multismolvla.nodes.parameters import ParameterError
from multismolvla.nodes.status_message import to_message
from multismolvla.nodes.trajectory_message import trajectory_message
from multismolvla.sensing.health import HealthReport, State

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
GOOD = HealthReport(State.OK, (), "", 15.0, 0.01, 100)
LOST = HealthReport(State.LOST, ("stale",), "", 0.0, 1.0, 100)
INPUTS = {"policy/chunk", "policy/status", "so101_driver/status", "joint_states", "rgb/status"}


def status(name: str, level: bytes = DiagnosticStatus.OK, message: str = "", **values):
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticArray(
        status=[DiagnosticStatus(name=name, level=level, message=message, values=pairs)]
    )


class Watched:
    """A monitor, the stack that it watches, and the displays."""

    def __init__(self, graph) -> None:
        self.graph = graph
        self.node = graph.add(MonitorNode())
        self.publishers = {
            "policy/chunk": graph.probe.create_publisher(JointTrajectory, "policy/chunk", 1),
            "policy/status": graph.probe.create_publisher(DiagnosticArray, "policy/status", 1),
            "so101_driver/status": graph.probe.create_publisher(
                DiagnosticArray, "so101_driver/status", 1
            ),
            "joint_states": graph.probe.create_publisher(JointState, "joint_states", 1),
            "depth/image": graph.probe.create_publisher(
                Image, "depth/image", qos_profile_sensor_data
            ),
            "depth/image/camera_info": graph.probe.create_publisher(
                CameraInfo, "depth/image/camera_info", qos_profile_sensor_data
            ),
        }
        for stream in self.node._streams:
            topic = f"{stream}/status"
            self.publishers[topic] = graph.probe.create_publisher(DiagnosticArray, topic, 1)
        self.seen: dict[str, list] = {}
        self.joints = SO101.home_rad.copy()
        self.mode = "running"
        self.health = dict.fromkeys(self.node._streams, GOOD)

    def look(self, kind, topic, qos=1):
        self.seen[topic] = []
        return self.graph.probe.create_subscription(kind, topic, self.seen[topic].append, qos)

    def stack(self) -> None:
        """Publish what the nodes of the stack would, once."""
        now = self.graph.probe.get_clock().now()
        self.send("policy/status", status("policy", mode=self.mode, reason="", task="the task"))
        self.send("so101_driver/status", status("driver", state="TRACKING", torque="1"))
        self.send(
            "joint_states", JointState(name=list(SO101.joint_names), position=self.joints.tolist())
        )
        for stream, report in self.health.items():
            self.send(f"{stream}/status", to_message(stream, "", report, now))

    def send(self, topic: str, message) -> None:
        self.publishers[topic].publish(message)

    def chunk(self) -> np.ndarray:
        """Plan to turn the arm for a minute; return the (60, 6) joints."""
        rows = np.tile(SO101.home_rad, (60, 1))
        rows[:, 0] = np.linspace(0, 1, 60)
        now_ns = self.graph.probe.get_clock().now().nanoseconds
        times_ns = now_ns + np.arange(60) * 10**9
        chunk = trajectory_message(SO101.joint_names, times_ns, rows)
        self.send("policy/chunk", chunk)
        return rows

    def until(self, topic: str, condition) -> None:
        """Run the stack until the newest message of a display fulfils the condition."""

        def met() -> bool:
            self.stack()
            return bool(self.seen[topic]) and condition(self.seen[topic][-1])

        self.graph.spin_until(met)

    def subscribed(self) -> set[str]:
        return {t for t, publisher in self.publishers.items() if publisher.get_subscription_count()}


@pytest.fixture
def watched(graph):
    return Watched(graph)


def verdict_of(panel: MarkerArray) -> str:
    return next(m.text for m in panel.markers if m.ns == "verdict" and m.text)


def test_nothing_is_subscribed_to_until_somebody_looks_and_after_that(watched):
    first = watched.look(MarkerArray, "monitor/health")
    watched.graph.spin_until(lambda: watched.subscribed() >= INPUTS)
    assert not {"depth/image", "depth/image/camera_info"} & watched.subscribed()
    watched.graph.probe.destroy_subscription(first)
    watched.graph.spin_until(lambda: not watched.subscribed())
    watched.look(PointCloud2, "depth/points", qos_profile_sensor_data)
    depth = {"depth/image", "depth/image/camera_info"}
    watched.graph.spin_until(lambda: watched.subscribed() == depth)


def test_the_planned_path_is_the_way_of_the_gripper_and_goes_when_the_policy_holds(watched):
    watched.look(Marker, "monitor/planned_path")
    watched.graph.spin_until(lambda: "policy/chunk" in watched.subscribed())
    rows = watched.chunk()
    watched.until("monitor/planned_path", lambda marker: len(marker.points) > 50)
    marker = watched.seen["monitor/planned_path"][-1]
    assert (marker.type, marker.header.frame_id) == (Marker.LINE_STRIP, "base_link")
    end = marker.points[-1]
    np.testing.assert_allclose([end.x, end.y, end.z], KINEMATICS.forward(rows[-1])[0], atol=1e-9)
    opacity = [colour.a for colour in marker.colors]
    assert opacity == sorted(opacity, reverse=True) and opacity[0] > 3 * opacity[-1]
    watched.mode = "hold"
    watched.until("monitor/planned_path", lambda marker: marker.action == Marker.DELETE)


def test_the_executed_path_follows_the_measured_joints(watched):
    watched.look(Path, "monitor/executed_path")
    watched.until("monitor/executed_path", lambda path: len(path.poses) == 1)
    watched.joints[0] += 0.5
    watched.until("monitor/executed_path", lambda path: len(path.poses) == 2)
    path = watched.seen["monitor/executed_path"][-1]
    position = path.poses[-1].pose.position
    expected, _ = KINEMATICS.forward(watched.joints)
    np.testing.assert_allclose([position.x, position.y, position.z], expected, atol=1e-9)
    assert path.header.frame_id == "base_link"


def test_a_lost_stream_a_hold_and_a_silent_stack_are_plain_to_see(watched):
    watched.look(MarkerArray, "monitor/health")
    watched.until("monitor/health", lambda panel: verdict_of(panel) == "RUNNING: the task")
    lamps = [m for m in watched.seen["monitor/health"][-1].markers if m.ns == "lamps"]
    assert len(lamps) == len(watched.health)
    assert all(m.color.g > 2 * m.color.r for m in lamps)

    watched.health["rgb"] = LOST
    watched.until("monitor/health", lambda panel: "1 of 8 streams lost: rgb" in verdict_of(panel))
    panel = watched.seen["monitor/health"][-1]
    assert "rgb LOST stale" in [m.text for m in panel.markers]
    red = [m.id for m in panel.markers if m.ns == "lamps" and m.color.r > 0.9 > m.color.g * 2]
    assert red == [0]

    watched.mode = "hold"
    watched.until("monitor/health", lambda panel: verdict_of(panel).startswith("HOLD"))
    # The whole stack falls silent.
    count = len(watched.seen["monitor/health"])
    watched.graph.spin_until(
        lambda: "NO ARM" in verdict_of(watched.seen["monitor/health"][-1])
        and "status_late" in str(watched.seen["monitor/health"][-1])
    )
    assert len(watched.seen["monitor/health"]) > count


def depth_image(depth: np.ndarray) -> Image:
    height, width = depth.shape
    image = Image(height=height, width=width, encoding="32FC1", step=4 * width)
    image.header = Header(frame_id="top_camera_optical_frame", stamp=Time(sec=5))
    image.data = array.array("B", depth.astype(np.float32).tobytes())
    return image


def test_depth_becomes_points_in_the_optical_frame_and_they_go_with_the_camera(watched):
    watched.look(PointCloud2, "depth/points", qos_profile_sensor_data)
    watched.graph.spin_until(lambda: "depth/image/camera_info" in watched.subscribed())
    k = [8.0, 0.0, 3.5, 0.0, 8.0, 2.5, 0.0, 0.0, 1.0]
    clouds = watched.seen["depth/points"]

    def shown() -> bool:
        watched.send("depth/image/camera_info", CameraInfo(height=6, width=8, k=k))
        watched.send("depth/image", depth_image(np.full((6, 8), 0.5)))
        return bool(clouds)

    watched.graph.spin_until(shown)
    cloud = clouds[-1]
    assert cloud.header == Header(frame_id="top_camera_optical_frame", stamp=Time(sec=5))
    assert [(f.name, f.offset) for f in cloud.fields] == [("x", 0), ("y", 4), ("z", 8)]
    points = np.frombuffer(bytes(cloud.data), "<f4").reshape(-1, 3)
    assert len(points) == cloud.width == 12  # every second row and column
    np.testing.assert_allclose(points[0], [-3.5 / 16, -2.5 / 16, 0.5])
    watched.graph.spin_until(lambda: clouds[-1].width == 0)


BAD_JOINTS = ([float("nan")] * 6, [0.0] * 5, [])


def bad_messages():
    """(topic, message) of everything that a broken or hostile publisher may send."""
    names = list(SO101.joint_names)
    for positions in BAD_JOINTS:
        yield "joint_states", JointState(name=names, position=positions)
        point = JointTrajectoryPoint(positions=positions)
        yield "policy/chunk", JointTrajectory(joint_names=names, points=[point])
    yield "joint_states", JointState()
    yield "joint_states", JointState(name=["gripper"] * 6, position=[0.0] * 6)
    yield "policy/chunk", JointTrajectory()
    backwards = [
        JointTrajectoryPoint(positions=[0.0] * 6, time_from_start=Duration(sec=sec))
        for sec in (5, -(2**31), 2)
    ]
    yield "policy/chunk", JointTrajectory(joint_names=names, points=backwards)
    for topic in ("policy/status", "so101_driver/status", "rgb/status"):
        yield topic, DiagnosticArray()
        yield topic, status("")
        yield topic, status("", level=b"\xff", mode="\0", state="\n" * 999, rate_hz="x")
    yield "depth/image/camera_info", CameraInfo(height=6, width=8, k=[float("nan")] * 9)
    yield "depth/image", depth_image(np.ones((6, 8)))
    yield "depth/image/camera_info", CameraInfo(height=2, width=2)
    yield "depth/image", depth_image(np.ones((6, 8)))
    yield "depth/image/camera_info", CameraInfo(height=6, width=8, k=[1.0] * 9)
    truncated = depth_image(np.ones((6, 8)))
    truncated.data = truncated.data[:7]
    unknown = depth_image(np.ones((6, 8)))
    unknown.encoding = "nonsense"
    coloured = depth_image(np.ones((6, 8)))
    coloured.encoding, coloured.step = "rgba8", 32
    early = depth_image(np.ones((6, 8)))
    early.header.stamp = Time(sec=-5)
    for image in (truncated, unknown, coloured, early, Image()):
        yield "depth/image", image


def test_it_outlives_every_bad_message(watched):
    for kind, topic in (
        (Marker, "monitor/planned_path"),
        (Path, "monitor/executed_path"),
        (MarkerArray, "monitor/health"),
    ):
        watched.look(kind, topic)
    watched.look(PointCloud2, "depth/points", qos_profile_sensor_data)
    watched.graph.spin_until(
        lambda: watched.subscribed() >= INPUTS | {"depth/image", "depth/image/camera_info"}
    )
    for topic, message in bad_messages():
        watched.send(topic, message)
        # One picture after each: the message has been taken, and drawing goes on.
        count = len(watched.seen["monitor/health"])
        watched.graph.spin_until(lambda count=count: len(watched.seen["monitor/health"]) > count)
    watched.chunk()
    watched.until("monitor/planned_path", lambda marker: len(marker.points) > 50)
    watched.until("monitor/executed_path", lambda path: len(path.poses) == 1)
    watched.until("monitor/health", lambda panel: verdict_of(panel) == "RUNNING: the task")
    for marker in watched.seen["monitor/planned_path"]:
        assert np.isfinite([[p.x, p.y, p.z] for p in marker.points]).all()


def test_the_robot_is_described_unless_somebody_else_does(graph):
    described = []
    graph.probe.create_subscription(String, "robot_description", described.append, LATCHED)
    silent = graph.add(MonitorNode(parameter_overrides=[Parameter("urdf", value="")]))
    assert "/robot_description" not in [publisher.topic_name for publisher in silent.publishers]
    graph.add(MonitorNode())
    graph.spin_until(lambda: described)
    assert described[0].data.startswith("<?xml") and 'joint name="wrist_roll"' in described[0].data


def test_a_missing_urdf_is_one_line(graph):
    with pytest.raises(ParameterError, match=r"parameter 'urdf': cannot read nowhere\.urdf"):
        MonitorNode(parameter_overrides=[Parameter("urdf", value="nowhere.urdf")])
