"""The fault injector on a real graph: what it leaves alone, what it breaks, and how it mends."""

from __future__ import annotations

import re

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from multismolvla.nodes.fault_injector import FaultInjector
from multismolvla.nodes.parameters import ParameterError
from multismolvla.nodes.rgb_node import RgbNode
from multismolvla.nodes.stamp_ns import stamp_ns
from multismolvla.nodes.status_message import from_message
from multismolvla.sensing.health import State

BRIDGE = CvBridge()
RNG = np.random.default_rng(0)
ENCODINGS = {"rgb": "rgb8", "depth": "16UC1", "thermal": "mono16"}


def pixels(kind: str) -> np.ndarray:
    pattern = (np.indices((48, 64)) // 8).sum(axis=0) % 2
    if kind == "rgb":
        return (80 + 60 * pattern[..., None] + RNG.normal(0, 2, (48, 64, 3))).astype(np.uint8)
    return ({"depth": 600, "thermal": 29500}[kind] + RNG.normal(0, 5, (48, 64))).astype(np.uint16)


class Desk:
    """An injector with cameras and an arm at its inputs and ears at its outputs."""

    def __init__(self, graph, node) -> None:
        self.graph, self.node = graph, node
        self.images = {name: [] for name in ("rgb", "depth", "thermal", "wrist/depth")}
        self.joints, self.infos = [], []
        probe, sensor = graph.probe, qos_profile_sensor_data
        self._cameras = {}
        for name, heard in self.images.items():
            probe.create_subscription(Image, f"{name}/faulty/image_raw", heard.append, sensor)
            self._cameras[name] = probe.create_publisher(Image, f"{name}/image_raw", sensor)
        self.info = probe.create_publisher(CameraInfo, "rgb/camera_info", sensor)
        probe.create_subscription(CameraInfo, "rgb/faulty/camera_info", self.infos.append, sensor)
        self.arm = probe.create_publisher(JointState, "joint_states", 10)
        probe.create_subscription(JointState, "faulty/joint_states", self.joints.append, 10)
        self.policy = probe.create_publisher(JointTrajectory, "joint_trajectory", 1)
        ready = [*self._cameras.values(), self.info, self.arm]
        graph.spin_until(
            lambda: (
                all(publisher.get_subscription_count() for publisher in ready)
                and all(node.count_subscribers(f"{n}/faulty/image_raw") for n in self.images)
                and node.count_subscribers("faulty/joint_states")
                and node.count_subscribers("rgb/faulty/camera_info")
            )
        )

    def shoot(self, name="rgb", **header) -> Image:
        """Send a frame."""
        kind = name.rpartition("/")[2]
        header = Header(stamp=self.node.get_clock().now().to_msg(), frame_id="here", **header)
        message = BRIDGE.cv2_to_imgmsg(pixels(kind), ENCODINGS[kind], header)
        self._cameras[name].publish(message)
        return message

    def passed(self, name="rgb") -> tuple[Image, Image]:
        """Send a frame; return it and what came of it."""
        before = len(self.images[name])
        sent = self.shoot(name)
        self.graph.spin_until(lambda: len(self.images[name]) > before)
        return sent, self.images[name][-1]

    def set(self, **values) -> str:
        """Set parameters of the injector; return why not, or ""."""
        request = SetParameters.Request()
        for name, value in values.items():
            full = name.replace("__", ".")
            request.parameters.append(Parameter(full, value=value).to_parameter_msg())
        results = self.graph.call(SetParameters, "fault_injector/set_parameters", request).results
        return " ".join(result.reason for result in results if not result.successful)


@pytest.fixture
def desk(graph):
    return Desk(graph, graph.add(FaultInjector()))


def test_what_is_sound_passes_as_it_came(desk):
    for name in desk.images:
        sent, received = desk.passed(name)
        assert received == sent
    desk.info.publish(CameraInfo(width=64, height=48))
    desk.arm.publish(JointState(name=["shoulder_pan"], position=[0.5]))
    desk.graph.spin_until(lambda: desk.infos and desk.joints)
    assert desk.infos[0].width == 64 and list(desk.joints[0].position) == [0.5]


def test_a_parameter_breaks_a_camera_and_mends_it(desk):
    assert desk.set(rgb__fault="noise", rgb__severity=4) == ""
    sent, received = desk.passed()
    assert (received.encoding, received.header) == ("rgb8", sent.header)
    noise = BRIDGE.imgmsg_to_cv2(received).astype(float) - BRIDGE.imgmsg_to_cv2(sent)
    assert 40.0 < noise.std() < 70.0
    # Another severity counts at once, and values of its own count more.
    assert desk.set(rgb__parameters="{sigma: 0.0}") == ""
    sent, received = desk.passed()
    assert received == sent
    for name in ("depth", "wrist/depth"):
        sent, received = desk.passed(name)
        assert received == sent
    assert desk.set(rgb__fault="none") == ""
    sent, received = desk.passed()
    assert received == sent


def test_counts_of_depth_and_thermal_keep_their_meaning(desk):
    assert desk.set(depth__fault="depth_scale", depth__parameters="{factor: 1.5}") == ""
    assert desk.set(thermal__fault="black") == ""
    sent, received = desk.passed("depth")
    assert received.encoding == "16UC1"
    expected = BRIDGE.imgmsg_to_cv2(sent) * 1.5
    np.testing.assert_allclose(BRIDGE.imgmsg_to_cv2(received), expected, atol=0.51)
    sent, received = desk.passed("thermal")
    assert received.encoding == "mono16" and not np.any(BRIDGE.imgmsg_to_cv2(received))


def test_an_unplugged_camera_says_nothing_and_the_others_go_on(desk):
    assert desk.set(wrist__depth__fault="drop") == ""
    desk.shoot("wrist/depth")
    for _ in range(3):
        desk.passed("depth")
    assert not desk.images["wrist/depth"]
    assert desk.graph.call(Trigger, "fault_injector/mend").success
    desk.passed("wrist/depth")
    assert desk.node.get_parameter("wrist.depth.fault").value == "none"


def test_a_delayed_frame_comes_later_with_the_stamp_it_had(desk):
    assert desk.set(rgb__fault="delay", rgb__parameters="{delay_s: 0.3}") == ""
    sent, received = desk.passed()
    assert received == sent
    late_ns = desk.node.get_clock().now().nanoseconds - stamp_ns(sent.header.stamp)
    assert late_ns >= 300_000_000


def test_stamps_of_pictures_and_of_joint_states_can_lie(desk):
    assert desk.set(rgb__fault="stamp_offset", joint_states__fault="stamp_offset") == ""
    assert desk.set(rgb__parameters="{offset_s: -2}") == ""
    sent, received = desk.passed()
    assert stamp_ns(received.header.stamp) == stamp_ns(sent.header.stamp) - 2 * 10**9
    assert bytes(received.data) == bytes(sent.data)
    desk.arm.publish(JointState(header=sent.header, position=[0.1]))
    desk.graph.spin_until(lambda: desk.joints)
    ahead_ns = stamp_ns(desk.joints[0].header.stamp) - stamp_ns(sent.header.stamp)
    assert ahead_ns == 90_000_000 and list(desk.joints[0].position) == [0.1]


def test_a_message_that_holds_no_picture_is_passed_on(desk):
    assert desk.set(rgb__fault="noise") == ""
    desk._cameras["rgb"].publish(Image(width=10, height=10, encoding="nonsense"))
    desk.graph.spin_until(lambda: desk.images["rgb"])
    assert desk.images["rgb"][0].encoding == "nonsense"


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"rgb__fault": "fog"}, "unknown fault 'fog'; expected drop"),
        ({"rgb__fault": "nan_depth"}, "nan_depth: kind is 'rgb'; expected depth"),
        ({"rgb__fault": "drop", "rgb__severity": 9}, ""),
        ({"rgb__fault": "noise", "rgb__parameters": "{size: 1}"}, "unknown parameter 'size'"),
        ({"rgb__fault": "noise", "rgb__parameters": "["}, "not valid YAML"),
        ({"rgb__fault": "noise", "rgb__parameters": "3"}, "expected keys and values"),
    ],
)
def test_a_wrong_parameter_changes_nothing(desk, values, part):
    # One by one, as `ros2 param set` does; the last of them is wrong.
    *first, last = values.items()
    for name, value in first:
        assert desk.set(**{name: value}) == ""
    before = desk.node._schedules.get("rgb")
    reason = desk.set(**dict([last]))
    assert reason and part in reason and "\n" not in reason
    assert desk.node._schedules.get("rgb") is before


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [("rgb.fault", "fog", "one of none, drop"), ("sonar.fault", "drop", "unknown parameter")],
)
def test_a_wrong_start_is_one_clear_line(graph, name, value, part):
    with pytest.raises(ParameterError) as caught:
        FaultInjector(parameter_overrides=[Parameter(name, value=value)])
    assert part in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def scenario(tmp_path):
    file = tmp_path / "made_up.yaml"
    file.write_text("faults: [{stream: rgb, fault: black, start: 0.0, duration: 1.0}]")
    return Parameter("scenario", value=str(file))


def blackness(desk) -> bool:
    return not any(desk.passed()[1].data)


def test_a_scenario_begins_with_the_policy_and_ends_in_time(graph, scenario):
    simulated = Parameter("use_sim_time", value=True)
    desk = Desk(graph, graph.add(FaultInjector(parameter_overrides=[scenario, simulated])))
    clock = graph.probe.create_publisher(Clock, "/clock", 1)
    graph.spin_until(lambda: desk.policy.get_subscription_count())

    def set_time(ms: int) -> None:
        def reached() -> bool:
            clock.publish(Clock(clock=Time(sec=ms // 1000, nanosec=ms % 1000 * 10**6)))
            return desk.node.get_clock().now().nanoseconds == ms * 10**6

        graph.spin_until(reached)

    set_time(50_000)
    assert not blackness(desk)
    desk.policy.publish(JointTrajectory())
    graph.spin_until(lambda: blackness(desk))
    set_time(50_980)
    assert blackness(desk)
    set_time(51_020)
    assert not blackness(desk)
    # It is over; a further trajectory does not begin it again, but the service does.
    desk.policy.publish(JointTrajectory())
    assert not blackness(desk)
    assert graph.call(Trigger, "fault_injector/start").success
    assert blackness(desk)
    assert graph.call(Trigger, "fault_injector/mend").success
    assert not blackness(desk)


def test_without_a_scenario_there_is_nothing_to_start(desk):
    answer = desk.graph.call(Trigger, "fault_injector/start")
    assert not answer.success and "no scenario" in answer.message


def test_a_sensor_node_behind_it_masks_and_recovers(desk):
    graph, statuses = desk.graph, []
    remapped = ["--ros-args", "-r", "rgb/image_raw:=rgb/faulty/image_raw"]
    graph.add(RgbNode(cli_args=remapped))
    graph.probe.create_subscription(
        DiagnosticArray, "rgb/status", lambda m: statuses.append(from_message(m)), 10
    )
    graph.spin_until(lambda: desk.node.count_subscribers("rgb/faulty/image_raw") == 2)

    def until(state: State) -> None:
        def seen() -> bool:
            desk.passed()
            return statuses and statuses[-1].state == state

        graph.spin_until(seen)

    until(State.OK)
    for fault in ("black", "truncated_data", "wrong_encoding"):
        assert desk.set(rgb__fault=fault) == ""
        until(State.LOST)
        assert set(statuses[-1].reasons) & {"blank", "invalid"}
        assert graph.call(Trigger, "fault_injector/mend").success
        until(State.OK)


def test_every_parameter_is_described_and_on_the_page(desk, request):
    graph = desk.graph
    names = graph.call(ListParameters, "fault_injector/list_parameters").result.names
    own = [n for n in names if n not in ("use_sim_time", "start_type_description_service")]
    asked = DescribeParameters.Request(names=own)
    descriptors = graph.call(
        DescribeParameters, "fault_injector/describe_parameters", asked
    ).descriptors
    page = (request.config.rootpath / "docs" / "nodes" / "fault_injector.md").read_text()
    told = set(re.findall(r"^\| `(?:<stream>\.)?(\w+)` \|", page, flags=re.M))
    assert told == {descriptor.name.rpartition(".")[2] for descriptor in descriptors}
    for descriptor in descriptors:
        assert descriptor.description, descriptor.name
        if descriptor.type == ParameterType.PARAMETER_INTEGER:
            assert descriptor.integer_range, descriptor.name


def test_a_shipped_scenario_is_found_from_every_working_directory(graph, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    scenario = Parameter("scenario", value="config/faults/rgb_loss.yaml")
    node = graph.add(FaultInjector(parameter_overrides=[scenario]))
    assert node._scenario.name == "rgb_loss"
    with pytest.raises(ValueError, match=r"config/faults/none\.yaml"):
        FaultInjector(parameter_overrides=[Parameter("scenario", value="config/faults/none.yaml")])
