"""The simulated robot as the graph sees it: cameras, result, reset, clock, serial port."""

import numpy as np
import pytest
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticStatus
from patience import HANG_S
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.depth import DEPTH
from multismolvla.modalities.registry import find_modality
from multismolvla.nodes.camera_messages import raw_image
from multismolvla.nodes.sim_node import LATCHED, SimNode
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.calibration import load_calibration
from multismolvla.robot.so101 import SO101Arm
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.layout import SHAPES
from multismolvla.sim.offscreen import RenderingError
from multismolvla.sim.tasks import TASKS

ENCODINGS = {"rgb": "rgb8", "depth": "16UC1", "thermal": "mono16", "segmentation": "mono8"}


class Robot:
    """A simulated robot and what it has published."""

    def __init__(self, graph, tmp_path, **parameters):
        self.graph = graph
        self.port = tmp_path / "so101"
        self.newest: dict[str, object] = {}
        self.counts: dict[str, int] = {}
        self.clock_ns: list[int] = []
        streams = [f"{view}{kind}" for view in ("", "wrist/") for kind in ENCODINGS]
        for name in streams:
            self._listen(Image, f"{name}/image_raw", qos_profile_sensor_data)
            self._listen(CameraInfo, f"{name}/camera_info", qos_profile_sensor_data)
        self._listen(MarkerArray, "ground_truth/objects", 1)
        self._listen(DiagnosticStatus, "sim_node/result", LATCHED)
        graph.probe.create_subscription(
            Clock,
            "/clock",
            lambda m: self.clock_ns.append(m.clock.sec * 10**9 + m.clock.nanosec),
            qos_profile_sensor_data,
        )
        values = {"port": str(self.port), **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = graph.add(SimNode(parameter_overrides=overrides))
        self.streams = streams

    def _listen(self, kind, topic, qos):
        def keep(message):
            self.newest[topic] = message
            self.counts[topic] = self.counts.get(topic, 0) + 1

        self.graph.probe.create_subscription(kind, topic, keep, qos)

    def until(self, condition):
        self.graph.spin_until(condition)

    def set(self, **values):
        parameters = [Parameter(name, value=v).to_parameter_msg() for name, v in values.items()]
        request = SetParameters.Request(parameters=parameters)
        return self.graph.call(SetParameters, "sim_node/set_parameters", request).results[0]

    @property
    def result(self):
        message = self.newest.get("sim_node/result")
        return {pair.key: pair.value for pair in message.values} if message else {}

    def objects(self):
        markers = self.newest["ground_truth/objects"].markers
        return {m.ns: np.array([m.pose.position.x, m.pose.position.y]) for m in markers}


@pytest.fixture
def start(graph, tmp_path):
    robots = []

    def make(**parameters):
        robots.append(Robot(graph, tmp_path, **parameters))
        return robots[-1]

    yield make
    for robot in robots:
        robot.node.close()


def test_every_camera_publishes_its_own_encoding_with_its_info(start):
    robot = start()
    topics = [f"{name}/{leaf}" for name in robot.streams for leaf in ("image_raw", "camera_info")]
    robot.until(lambda: all(topic in robot.newest for topic in topics))
    bridge = CvBridge()
    for name in robot.streams:
        image, info = robot.newest[f"{name}/image_raw"], robot.newest[f"{name}/camera_info"]
        kind = name.rpartition("/")[2]
        assert image.encoding == ENCODINGS[kind]
        assert image.header.frame_id == info.header.frame_id
        assert image.header.frame_id.endswith("_optical_frame")
        assert (info.height, info.width) == (image.height, image.width) == (96, 96)
        assert len(np.unique(bridge.imgmsg_to_cv2(image))) > 1
    celsius = bridge.imgmsg_to_cv2(robot.newest["thermal/image_raw"]) * 0.01 - 273.15
    assert celsius.min() > 0 and 40 < celsius.max() < 60  # the red cube is at 55 degrees
    metres = bridge.imgmsg_to_cv2(robot.newest["depth/image_raw"]) / 1000.0
    assert 0.2 < np.median(metres[metres > 0]) < 0.8


def test_the_objects_can_be_seen_in_rviz(start):
    robot = start()
    robot.until(lambda: "ground_truth/objects" in robot.newest)
    markers = {m.ns: m for m in robot.newest["ground_truth/objects"].markers}
    assert set(markers) == set(SHAPES)
    for name, marker in markers.items():
        assert marker.header.frame_id == "base_link"
        scale = np.array([marker.scale.x, marker.scale.y, marker.scale.z])
        assert np.allclose(scale, 2 * np.array(SHAPES[name].half))
        assert marker.color.a == 1.0
        assert (marker.type == Marker.CYLINDER) == SHAPES[name].round
    assert markers["red_cube"].color.r > 0.5 > markers["red_cube"].color.b


def test_a_machine_that_cannot_render_says_so_once_and_the_arm_lives(start, monkeypatch):
    def fail(*_):
        raise RenderingError("OpenGL does not start; install libegl1")

    monkeypatch.setattr(Cameras, "render", fail)
    robot = start()
    said = []
    robot.graph.probe.create_subscription(
        Log,
        "/rosout",
        lambda m: said.append(m.msg),
        QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    robot.until(lambda: any("no camera gives frames: OpenGL does not" in line for line in said))
    robot.node._threads.cameras.join()
    assert robot.node._threads.physics.is_alive()
    assert robot.graph.call(Trigger, "sim_node/reset").success
    assert "rgb/image_raw" not in robot.newest


def test_a_simulation_that_breaks_ends_the_node(start, monkeypatch):
    def fail(*_):
        raise FloatingPointError("diverged")

    robot = start()
    robot.until(lambda: "rgb/image_raw" in robot.newest)
    monkeypatch.setattr(robot.node._simulation, "advance", fail)
    robot.node._threads.physics.join(HANG_S)
    assert not robot.node.context.ok()


@pytest.mark.parametrize(
    ("kind", "unit", "offset"), [("depth", 1e-3, 0.0), ("thermal", 0.01, -273.15)]
)
def test_encoding_errs_by_half_a_unit_at_most_and_to_no_side(kind, unit, offset):
    truth = np.linspace(0.3, 0.5, 400, dtype=np.float32)[None]
    counts = CvBridge().imgmsg_to_cv2(raw_image(CvBridge(), find_modality(kind), truth, Header()))
    error = (counts * unit + offset - truth) / unit
    assert np.abs(error).max() < 0.51
    assert abs(error.mean()) < 0.05


def test_what_no_count_can_hold_is_no_return():
    # 65535 is what other cameras say where they see nothing.
    depth = np.array([[70.0, np.inf, -1.0, np.nan, 65.535, 65.534]], np.float32)
    counts = CvBridge().imgmsg_to_cv2(raw_image(CvBridge(), DEPTH, depth, Header()))
    assert counts.tolist() == [[0, 0, 0, 0, 0, 65534]]


def test_a_dead_camera_is_silent_until_it_is_revived(start):
    robot = start()
    robot.until(lambda: {"rgb/image_raw", "depth/image_raw"} <= robot.newest.keys())
    assert robot.set(dead_cameras=["rgb"]).successful
    # What was sent before may still lie in the queues, up to five messages a topic.
    settled = robot.counts["depth/image_raw"] + 8
    robot.until(lambda: robot.counts["depth/image_raw"] >= settled)
    dead = robot.counts["rgb/image_raw"]
    robot.until(lambda: robot.counts["depth/image_raw"] >= settled + 4)
    assert robot.counts["rgb/image_raw"] == dead
    assert robot.set(dead_cameras=[""]).successful
    robot.until(lambda: robot.counts["rgb/image_raw"] > dead)


@pytest.mark.parametrize(
    ("values", "named"),
    [({"dead_cameras": ["sonar"]}, "sonar"), ({"task": "fold the shirt"}, "fold the shirt")],
)
def test_a_bad_value_is_refused_with_what_was_expected(start, values, named):
    robot = start()
    answer = robot.set(**values)
    assert not answer.successful
    assert named in answer.reason
    robot.until(lambda: "rgb/image_raw" in robot.newest)


def test_values_that_are_refused_together_change_nothing(start):
    robot = start()
    values = [Parameter("dead_cameras", value=["rgb"]), Parameter("task", value="fold the shirt")]
    assert not robot.node.set_parameters_atomically(values).successful
    assert not robot.node._wanted.dead


def test_reset_places_the_scene_of_task_and_seed(start):
    robot = start()
    robot.until(lambda: "ground_truth/objects" in robot.newest)
    task = TASKS[-1]
    assert robot.set(task=task.id).successful
    assert robot.set(seed=7).successful
    answer = robot.graph.call(Trigger, "sim_node/reset")
    assert answer.success and answer.message == task.instruction
    robot.until(lambda: robot.result.get("episode") == "1")
    assert robot.result["task"] == task.id and robot.result["success"] == "0"
    wanted = task.place(7)
    robot.until(
        lambda: all(np.allclose(robot.objects()[n], wanted[n][:2], atol=2e-3) for n in wanted)
    )


def test_the_arm_is_reached_over_its_serial_port_and_holds_home(start, request):
    robot = start()
    config = request.config.rootpath / "config" / "so101_sim_calibration.json"
    with FeetechBus(str(robot.port), timeout_s=2.0) as bus:
        arm = SO101Arm(bus, load_calibration(config))
        assert np.allclose(arm.read().positions_rad, SO101.home_rad, atol=0.05)
    robot.node.close()
    assert not robot.port.is_symlink()


def test_simulated_time_never_runs_backwards_over_a_reset(start):
    robot = start(use_sim_time=True, real_time_factor=3.0)
    robot.until(lambda: len(robot.clock_ns) > 20)
    robot.graph.call(Trigger, "sim_node/reset")
    seen = len(robot.clock_ns)
    robot.until(lambda: len(robot.clock_ns) > seen + 20 and "rgb/image_raw" in robot.newest)
    assert (np.diff(robot.clock_ns) > 0).all()
    stamp = robot.newest["rgb/image_raw"].header.stamp
    # On this clock and not on the wall's: time reaches the stamp of an image that is there.
    robot.until(lambda: stamp.sec * 10**9 + stamp.nanosec <= robot.clock_ns[-1])


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"task": "fold the shirt"}, "fold the shirt"),
        ({"dead_cameras": ["sonar"]}, "unknown stream 'sonar'"),
        ({"streams_file": "/nowhere.yaml"}, "/nowhere.yaml: cannot read"),
        ({"sead": 3}, "unknown parameter 'sead'"),
    ],
)
def test_bad_configuration_is_one_clear_line(start, parameters, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        start(**parameters)
    assert "\n" not in str(error.value)
