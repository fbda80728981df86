"""Sensor nodes in one process: the same nodes as alone, and none takes its neighbours along."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import rclpy
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from multismolvla.nodes.misconfigured import SUPERVISED
from multismolvla.nodes.node_host import RESTART_DELAY_S, NodeHost, NodeSpec, inside
from multismolvla.nodes.run import make_executor, spin_some
from multismolvla.nodes.sensor_container import parse


def test_a_command_line_is_split_into_nodes_and_what_is_for_all():
    specs, common = parse(
        [
            *("--node", "rgb_node", "-p", "stream:=rgb"),
            *("--node", "depth_node", "-r", "__ns:=/wrist"),
            *("--ros-args", "--log-level", "warn"),
        ]
    )
    assert specs == [
        NodeSpec("rgb_node", ("-p", "stream:=rgb")),
        NodeSpec("depth_node", ("-r", "__ns:=/wrist")),
    ]
    assert common == ["--ros-args", "--log-level", "warn"]


@pytest.mark.parametrize(
    "words", [[], ["rgb_node"], ["--node"], ["--node", "rgb_node", "--node"], ["--node", "radar"]]
)
def test_a_command_line_that_names_no_node_is_one_line(words):
    with pytest.raises(ValueError, match=r"^sensor_container: [^\n]*$"):
        parse(words)


@pytest.mark.parametrize(
    ("base", "own", "namespace"),
    [("", [], "/"), ("/", ["/wrist"], "/wrist"), ("/left", ["/wrist"], "/left/wrist")],
)
def test_a_node_is_within_the_namespace_of_its_process(base, own, namespace):
    words = ["-p", "a:=b", *(word for ns in own for word in ("-r", f"__ns:={ns}"))]
    assert inside(base, words) == ["--ros-args", "-r", f"__ns:={namespace}", "-p", "a:=b"]


class Echo(Node):
    """Answers what it hears; `raise` makes it fail, in a callback or when it is made."""

    made = 0
    fails_to_start = 0

    def __init__(self, **options) -> None:
        super().__init__("echo", **options)
        Echo.made += 1
        if Echo.fails_to_start:
            Echo.fails_to_start -= 1
            raise RuntimeError("no memory left")
        self.destroyed = False
        self._out = self.create_publisher(String, "out", 1)
        self.create_subscription(String, "in", self._on_text, 1)

    def _on_text(self, message: String) -> None:
        if message.data == "raise":
            raise KeyError("a bug")
        self._out.publish(String(data=f"{Echo.made}: {message.data}"))


class Rig:
    """Two echoes of one process, in two namespaces, and a clock that is driven by hand."""

    def __init__(self) -> None:
        Echo.made = Echo.fails_to_start = 0
        self.now_s = 0.0
        self.executor = make_executor()
        specs = [NodeSpec("echo", ("-r", f"__ns:=/{name}")) for name in ("good", "bad")]
        self.host = NodeHost(specs, self.executor, {"echo": Echo}, "", lambda: self.now_s)
        self.host.tend()
        self.probe = rclpy.create_node("probe")
        self.executor.add_node(self.probe)
        self.heard: list[str] = []
        self._say = {}
        for name in ("good", "bad"):
            self.probe.create_subscription(
                String, f"{name}/out", lambda m, name=name: self.heard.append(f"{name} {m.data}"), 9
            )
            self._say[name] = self.probe.create_publisher(String, f"{name}/in", 1)

    def spin_until(self, condition) -> None:
        for _ in range(600):
            if condition():
                return
            spin_some(self.executor)
            self.host.tend()
        pytest.fail("condition not met")

    def answers(self, name: str) -> None:
        """Wait until a node answers."""
        before = len(self.heard)

        def answered() -> bool:
            self._say[name].publish(String(data="hello"))
            return any(line.startswith(name) for line in self.heard[before:])

        self.spin_until(answered)

    def say(self, name: str, text: str) -> None:
        self._say[name].publish(String(data=text))


@pytest.fixture
def rig() -> Iterator[Rig]:
    rclpy.init()
    rig = Rig()
    yield rig
    rig.host.close()
    rig.probe.destroy_node()
    rig.executor.shutdown()
    rclpy.try_shutdown()


def test_a_node_that_raises_is_made_anew_and_its_neighbour_goes_on(rig, capfd):
    rig.answers("good")
    rig.answers("bad")
    rig.say("bad", "raise")
    rig.spin_until(lambda: len(rig.host.nodes) == 1)
    rig.answers("good")
    assert Echo.made == 2
    rig.now_s += RESTART_DELAY_S
    rig.spin_until(lambda: Echo.made == 3)
    rig.answers("bad")
    rig.answers("good")
    assert "KeyError: 'a bug'" in capfd.readouterr().err


def test_a_node_that_cannot_start_is_tried_again(rig):
    Echo.fails_to_start = 2
    rig.say("bad", "raise")
    rig.answers("good")
    for made in (3, 4, 5):
        rig.now_s += RESTART_DELAY_S
        rig.spin_until(lambda made=made: Echo.made == made)
    rig.answers("bad")


CONTAINER = "from multismolvla.nodes.sensor_container import main; raise SystemExit(main())"
NODES = ("--node", "rgb_node", "--node", "depth_node", "-p")


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CONTAINER, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_a_wrong_parameter_is_the_same_line_as_alone(graph):
    process = start(*NODES, "streem:=depth")
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 2
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "/depth_node: unknown parameter 'streem'" in errors[0], printed
    assert "Traceback" not in printed


def test_beside_a_misconfigured_node_the_others_work(graph):
    """Supervised, as the launch file starts it: the wrong one reports, the right one works."""
    reports, images = [], []

    def on_diagnostics(message: DiagnosticArray) -> None:
        reports.extend(status for status in message.status if "configuration" in status.name)

    graph.probe.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    graph.probe.create_subscription(Image, "rgb/image", images.append, qos_profile_sensor_data)
    raw = graph.probe.create_publisher(Image, "rgb/image_raw", qos_profile_sensor_data)
    rng, bridge = np.random.default_rng(0), CvBridge()
    process = start(*NODES, "streem:=depth", **{SUPERVISED: "1"})

    def shoot() -> bool:
        stamp = graph.probe.get_clock().now().to_msg()
        frame = rng.integers(0, 255, (24, 24, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        raw.publish(bridge.cv2_to_imgmsg(frame, "rgb8", Header(stamp=stamp)))
        return bool(reports and images)

    try:
        graph.spin_until(shoot, timeout_s=120.0)
        assert reports[0].name == "/depth_node: configuration"
        assert "unknown parameter 'streem'" in reports[0].message
    finally:
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in printed
