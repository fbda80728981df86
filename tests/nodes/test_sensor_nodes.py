"""Sensor nodes on a real graph: what goes out, what the status says, what they outlive."""

import array
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from ament_index_python.packages import get_package_share_directory
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import Log
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from multismolvla.modalities.conversion import condition
from multismolvla.nodes.camera_messages import scaled
from multismolvla.nodes.depth_node import DepthNode
from multismolvla.nodes.parameters import ParameterError
from multismolvla.nodes.rgb_node import RgbNode
from multismolvla.nodes.status_message import from_message
from multismolvla.nodes.status_monitor import StatusMonitor
from multismolvla.nodes.thermal_node import ThermalNode
from multismolvla.sensing.health import State
from multismolvla.streams import StreamTableError

NODES = {"rgb": RgbNode, "depth": DepthNode, "thermal": ThermalNode}
BRIDGE = CvBridge()
RNG = np.random.default_rng(0)


def pixels(kind: str) -> np.ndarray:
    """A live raw frame, 64 x 48."""
    pattern = (np.indices((48, 64)) // 8).sum(axis=0) % 2
    if kind == "rgb":
        return (80 + 60 * pattern[..., None] + RNG.normal(0, 2, (48, 64, 3))).astype(np.uint8)
    if kind == "depth":
        return (600 + 50 * pattern + RNG.normal(0, 2, (48, 64))).astype(np.uint16)
    return (29500 + 100 * pattern + RNG.normal(0, 5, (48, 64))).astype(np.uint16)


ENCODINGS = {"rgb": "rgb8", "depth": "16UC1", "thermal": "mono16"}


class Camera:
    """A node under test with a camera at its input and ears at its outputs.

    The node's rate is so low that a busy machine never makes its stream stale by accident.
    """

    def __init__(self, graph, kind="rgb", rate_hz=1.0, node=None, raw=True, **parameters):
        self.graph, self.kind = graph, kind
        self.node = node or graph.add(make(kind, graph.streams_file(rate_hz), **parameters))
        probe = graph.probe
        self.images, self.statuses, self.infos, self.sentences = [], [], [], []
        subscribe = probe.create_subscription
        subscribe(Image, f"{kind}/image", self.images.append, qos_profile_sensor_data)
        subscribe(DiagnosticArray, f"{kind}/status", self._on_status, 10)
        subscribe(
            CameraInfo, f"{kind}/image/camera_info", self.infos.append, qos_profile_sensor_data
        )
        self.raw = None
        if raw:
            self.raw = probe.create_publisher(Image, f"{kind}/image_raw", qos_profile_sensor_data)
        # Subscribers of another quality of service are none.
        fits = "reliability" not in "".join(parameters)
        graph.spin_until(
            lambda: (
                (not raw or not fits or self.raw.get_subscription_count())
                and probe.count_publishers(f"{kind}/image")
                and self.statuses
            )
        )

    def _on_status(self, message) -> None:
        self.statuses.append(from_message(message))
        self.sentences.append(message.status[0].message)

    def message(self, frame=None, offset_s=0.0) -> Image:
        stamp_ns = self.node.get_clock().now().nanoseconds + round(offset_s * 1e9)
        header = Header(frame_id="camera_optical_frame")
        header.stamp.sec, header.stamp.nanosec = divmod(max(0, stamp_ns), 10**9)
        frame = pixels(self.kind) if frame is None else frame
        return BRIDGE.cv2_to_imgmsg(frame, ENCODINGS[self.kind], header)

    def send(self, message=None) -> None:
        """Publish a message and wait until the node has judged it."""
        before = self.node._pipe.health.report(0).frames
        self.raw.publish(message or self.message())
        self.graph.spin_until(lambda: self.node._pipe.health.report(0).frames > before)

    def recover(self) -> None:
        for _ in range(5):
            self.send()
        self.await_status(lambda status: status.state is State.OK)

    def await_status(self, condition) -> None:
        self.graph.spin_until(lambda: condition(self.statuses[-1]))


def make(kind: str, streams_file: Path, namespace="", **parameters):
    parameters = {"streams_file": str(streams_file), **parameters}
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    return NODES[kind](parameter_overrides=overrides, namespace=namespace)


@pytest.fixture
def cameras(graph, tmp_path):
    def streams_file(rate_hz: float) -> Path:
        path = tmp_path / f"streams_{rate_hz}.yaml"
        streams = [
            {"name": name, "kind": name.split("/")[-1], "height": 24, "width": 32}
            | {"rate_hz": rate_hz, "frame_id": "camera_optical_frame"}
            for name in ("rgb", "depth", "thermal", "wrist/rgb")
        ]
        path.write_text(yaml.safe_dump({"streams": streams}))
        return path

    graph.streams_file = streams_file
    return graph


@pytest.mark.parametrize(
    ("kind", "encoding", "low", "high"),
    [("rgb", "rgb8", 60, 160), ("depth", "32FC1", 0.5, 0.7), ("thermal", "32FC1", 20, 25)],
)
def test_frames_come_out_conditioned_with_their_header(cameras, kind, encoding, low, high):
    camera = Camera(cameras, kind)
    camera.recover()
    message = camera.message()
    cameras.spin_until(lambda: camera.images)
    count = len(camera.images)
    camera.send(message)
    cameras.spin_until(lambda: len(camera.images) > count)
    image = camera.images[-1]
    assert (image.height, image.width, image.encoding) == (24, 32, encoding)
    assert image.header == message.header
    values = BRIDGE.imgmsg_to_cv2(image)
    assert low < values.min() <= values.max() < high


def test_status_is_steady_names_the_stream_and_reaches_diagnostics(cameras):
    heard = []
    cameras.probe.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
    camera = Camera(cameras)
    cameras.spin_until(lambda: len(camera.statuses) >= 3 and heard)
    assert camera.statuses[-1].state is State.LOST
    assert camera.statuses[-1].reasons == ("stale",)
    health, frequency, stamps = heard[0].status
    assert [status.name for status in heard[0].status] == [
        "/rgb_node: rgb health",
        "/rgb_node: rgb frequency",
        "/rgb_node: rgb stamps",
    ]
    assert {status.hardware_id for status in heard[0].status} == {"camera"}
    assert health.level == frequency.level == DiagnosticStatus.ERROR
    assert stamps.level == DiagnosticStatus.WARN
    assert "no frame yet" in health.message


def test_a_camera_that_stops_is_reported_lost_at_once_and_recovers(cameras):
    camera = Camera(cameras)
    camera.recover()
    # Without the steady statuses the news can only be the one told at the deadline.
    camera.node._status.timer.cancel()
    camera.await_status(lambda status: status.state is State.LOST)
    assert camera.statuses[-1].reasons == ("stale",)
    camera.recover()


def wrong_encoding(camera):
    message = camera.message()
    message.encoding = "nonsense"
    return message


def truncated(camera):
    message = camera.message()
    message.data = message.data[:100]
    return message


def zero_size(camera):
    message = camera.message()
    message.height = message.width = message.step = 0
    message.data = array.array("B")
    return message


def impossible_step(camera):
    message = camera.message()
    message.step = 1
    return message


@pytest.mark.parametrize("kind", list(NODES))
@pytest.mark.parametrize("damage", [wrong_encoding, truncated, zero_size, impossible_step])
def test_messages_that_hold_no_image_lose_the_stream_until_good_ones_come(cameras, kind, damage):
    camera = Camera(cameras, kind)
    camera.recover()
    cameras.spin_until(lambda: camera.images)
    passed = len(camera.images)
    camera.send(damage(camera))
    camera.await_status(lambda status: status.reasons == ("invalid",))
    assert len(camera.images) == passed
    camera.recover()


def test_a_colour_image_is_no_depth_image_and_the_status_says_so(cameras):
    heard = []
    cameras.probe.create_subscription(DiagnosticArray, "depth/status", heard.append, 10)
    camera = Camera(cameras, "depth")
    camera.send(BRIDGE.cv2_to_imgmsg(pixels("rgb"), "rgb8"))
    camera.await_status(lambda status: status.reasons == ("invalid",))
    assert "encoding is 'rgb8'; expected 16UC1" in heard[-1].status[0].message


def test_each_event_is_one_line_in_the_log(cameras, capfd):
    camera = Camera(cameras)
    for _ in range(3):
        camera.send(wrong_encoding(camera))
    camera.recover()
    lines = capfd.readouterr().err.splitlines()
    said = [line.partition(": ")[2] for line in lines if "rgb is" in line]
    assert len(said) == 2
    assert "rgb is lost: invalid" in said[0]
    assert "nonsense" in said[0]
    assert said[1] == "rgb is OK"


def test_a_loss_soon_after_another_is_logged_in_the_end(cameras):
    said = []
    cameras.probe.create_subscription(Log, "/rosout", lambda m: said.append(m.msg), 100)
    camera = Camera(cameras)
    camera.send(wrong_encoding(camera))
    camera.recover()
    camera.send(wrong_encoding(camera))
    cameras.spin_until(lambda: [line for line in said if "rgb is" in line][2:])
    assert "rgb is lost: invalid" in [line for line in said if "rgb is" in line][2]


def test_depth_without_any_return_is_lost_and_not_passed_on(cameras):
    camera = Camera(cameras, "depth")
    camera.recover()
    cameras.spin_until(lambda: camera.images)
    passed = len(camera.images)
    camera.send(
        BRIDGE.cv2_to_imgmsg(
            np.full((48, 64), np.nan, np.float32), "32FC1", camera.message().header
        )
    )
    camera.await_status(lambda status: status.reasons == ("invalid",))
    assert len(camera.images) == passed


def test_a_black_and_a_frozen_camera_are_lost(cameras):
    camera = Camera(cameras)
    camera.recover()
    camera.send(camera.message(np.zeros((48, 64, 3), np.uint8)))
    camera.await_status(lambda status: status.reasons == ("blank",))
    camera.recover()
    frozen = pixels("rgb")
    for _ in range(4):
        camera.send(camera.message(frozen))
    camera.await_status(lambda status: status.reasons == ("frozen",))


def test_stamps_from_the_future_degrade_and_then_lose_the_stream(cameras):
    camera = Camera(cameras)
    camera.recover()
    camera.send(camera.message(offset_s=3600.0))
    camera.await_status(lambda status: status.reasons == ("bad_stamp",))
    assert camera.statuses[-1].state is State.DEGRADED
    for _ in range(2):
        camera.send(camera.message(offset_s=3600.0))
    camera.await_status(lambda status: status.state is State.LOST)
    camera.recover()


def test_a_stamp_before_the_epoch_is_a_bad_one_and_ends_no_node(cameras):
    camera = Camera(cameras)
    camera.recover()
    message = camera.message()
    message.header.stamp.sec = -1
    camera.send(message)
    camera.await_status(lambda status: status.reasons == ("bad_stamp",))
    camera.recover()


def test_simulated_time_may_jump_back(cameras):
    clock = cameras.probe.create_publisher(Clock, "/clock", 10)
    node = cameras.add(make("rgb", cameras.streams_file(1.0), use_sim_time=True))
    cameras.spin_until(clock.get_subscription_count)

    def set_time(seconds: float) -> None:
        time_ns = round(seconds * 1e9)
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(time_ns, 10**9)

        def reached():
            clock.publish(message)
            return node.get_clock().now().nanoseconds == time_ns

        cameras.spin_until(reached)

    heard = []
    cameras.probe.create_subscription(Image, "rgb/image", heard.append, qos_profile_sensor_data)
    raw = cameras.probe.create_publisher(Image, "rgb/image_raw", qos_profile_sensor_data)
    cameras.spin_until(
        lambda: raw.get_subscription_count() and node._image.get_subscription_count()
    )

    def send_at(seconds: float) -> None:
        set_time(seconds)
        header = Header()
        header.stamp = node.get_clock().now().to_msg()
        before = node._pipe.health.report(0).frames
        raw.publish(BRIDGE.cv2_to_imgmsg(pixels("rgb"), "rgb8", header))
        cameras.spin_until(lambda: node._pipe.health.report(0).frames > before)

    for k in range(5):
        send_at(1000.0 + k)
    assert node._pipe.health.state is State.OK
    send_at(10.0)
    assert node._pipe.health.state is State.OK
    # Time passes without a frame: the timer runs on the node's clock.
    steps = iter(np.arange(10.1, 30.0, 0.1))
    while node._pipe.health.state is State.OK:
        set_time(float(next(steps)))
    assert node._pipe.health.reasons == ("stale",)


def test_camera_info_is_scaled_with_the_image(cameras):
    camera = Camera(cameras)
    info = cameras.probe.create_publisher(CameraInfo, "rgb/camera_info", qos_profile_sensor_data)
    cameras.spin_until(
        lambda: info.get_subscription_count() and camera.node._info.get_subscription_count()
    )
    raw = CameraInfo(height=48, width=64, k=[50.0, 0.0, 31.5, 0.0, 50.0, 23.5, 0.0, 0.0, 1.0])

    def arrived():
        info.publish(raw)
        return camera.infos

    cameras.spin_until(arrived)
    received = camera.infos[0]
    assert (received.height, received.width) == (24, 32)
    assert list(received.k) == [25.0, 0.0, 15.5, 0.0, 25.0, 11.5, 0.0, 0.0, 1.0]


def test_the_quality_of_service_of_images_can_be_overridden(cameras):
    node = make(
        "rgb",
        cameras.streams_file(1.0),
        **{
            "qos_overrides./rgb/image_raw.subscription.reliability": "reliable",
            "qos_overrides./rgb/image.publisher.depth": 2,
        },
    )
    cameras.add(node)
    assert node._image.qos_profile.depth == 2
    raw = next(s for s in node.subscriptions if s.topic_name == "/rgb/image_raw")
    assert raw.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    # The override is of these two alone, and not of what other nodes of this process start from.
    assert qos_profile_sensor_data.reliability == ReliabilityPolicy.BEST_EFFORT
    assert qos_profile_sensor_data.depth == 5


def test_a_reliable_subscriber_gets_images_too(cameras):
    """RViz and image viewers are such ones by default; REP-2003 has publishers serve them."""
    camera = Camera(cameras)
    images, infos = [], []
    cameras.probe.create_subscription(Image, "rgb/image", images.append, QoSProfile(depth=5))
    cameras.probe.create_subscription(
        CameraInfo, "rgb/image/camera_info", infos.append, QoSProfile(depth=5)
    )
    raw = cameras.probe.create_publisher(CameraInfo, "rgb/camera_info", QoSProfile(depth=5))

    def seen():
        camera.send()
        raw.publish(CameraInfo(height=48, width=64))
        return images and infos

    cameras.spin_until(seen)


def test_camera_info_is_looked_for_beside_a_remapped_image(cameras):
    node = cameras.add(
        RgbNode(
            parameter_overrides=[Parameter("streams_file", value=str(cameras.streams_file(1.0)))],
            cli_args=["--ros-args", "-r", "rgb/image_raw:=/front/color/image_raw"],
        )
    )

    def topics():
        return {subscription.topic_name for subscription in node.subscriptions}

    assert "/front/color/image_raw" in topics()
    # Only while somebody wants it: it doubles the messages of a stream.
    assert not any("camera_info" in topic for topic in topics())
    listener = cameras.probe.create_subscription(
        CameraInfo, "rgb/image/camera_info", lambda _: None, qos_profile_sensor_data
    )
    cameras.spin_until(lambda: "/front/color/camera_info" in topics())
    cameras.probe.destroy_subscription(listener)
    cameras.spin_until(lambda: not any("camera_info" in topic for topic in topics()))


def test_scaled_camera_info_projects_to_the_scaled_pixel():
    info = CameraInfo(height=480, width=640)
    info.k = [500.0, 0.0, 300.0, 0.0, 510.0, 200.0, 0.0, 0.0, 1.0]
    point = np.array([0.1, -0.2, 1.0])
    u, v, _ = np.reshape(info.k, (3, 3)) @ point
    small_u, small_v, _ = np.reshape(scaled(info, 96, 96).k, (3, 3)) @ point
    assert (u + 0.5) * 96 / 640 - 0.5 == pytest.approx(small_u)
    assert (v + 0.5) * 96 / 480 - 0.5 == pytest.approx(small_v)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"stream": "sonar"}, "unknown stream 'sonar'; the table has rgb"),
        ({"stream": "depth"}, "'depth' is a stream of kind depth; expected one of kind rgb"),
        ({"stream": "wrist/rgb"}, "belongs in namespace 'wrist'"),
        ({"stale_periodz": 2.0}, "unknown parameter 'stale_periodz'"),
        ({"stale_periods": 0.5}, "parameter 'stale_periods': expected float in"),
        ({"frozen_repeats": "often"}, "parameter 'frozen_repeats': expected int"),
        ({"streams_file": "/nowhere.yaml"}, "cannot read the stream table"),
    ],
)
def test_bad_parameters_stop_the_node_with_one_line(cameras, parameters, said):
    with pytest.raises((ParameterError, StreamTableError), match=said):
        make("rgb", **{"streams_file": cameras.streams_file(15.0), **parameters})


@pytest.mark.parametrize("kind", list(NODES))
def test_the_shipped_configuration_is_complete_and_equals_the_defaults(cameras, kind):
    path = Path(get_package_share_directory("multismolvla")) / f"config/{kind}_node.yaml"
    shipped = yaml.safe_load(path.read_text())["/**"]["ros__parameters"]
    node = cameras.add(make(kind, cameras.streams_file(15.0)))
    declared = {
        name: parameter.value
        for name, parameter in node._parameters.items()
        if name not in ("stream", "streams_file", "use_sim_time", "start_type_description_service")
        and not name.startswith("qos_overrides")
    }
    assert shipped == declared


def test_the_monitor_follows_a_stream_in_its_namespace_and_notices_when_its_node_dies(cameras):
    changes = []
    monitor = StatusMonitor(
        cameras.probe, ["wrist/rgb"], lambda stream, status: changes.append((stream, status))
    )
    assert monitor.statuses["wrist/rgb"].reasons == ("status_late",)
    node = make("rgb", cameras.streams_file(1.0), "wrist", stream="wrist/rgb")
    cameras.executor.add_node(node)
    cameras.spin_until(lambda: changes)
    assert changes[0][1].reasons == ("stale",)
    node._pipe.health.on_bad_message("broken", node._now_ns())
    node._status.changed()
    cameras.spin_until(lambda: changes[-1][1].reasons == ("invalid",))
    cameras.executor.remove_node(node)
    node.destroy_node()
    cameras.spin_until(lambda: changes[-1][1].reasons == ("status_late",))
    assert not monitor.alive("wrist/rgb")


def test_a_status_that_is_none_is_ignored(cameras):
    monitor = StatusMonitor(cameras.probe, ["rgb"])
    publisher = cameras.probe.create_publisher(DiagnosticArray, "rgb/status", 10)
    monitor._on_status("rgb", DiagnosticArray())
    monitor._on_status("rgb", DiagnosticArray(status=[DiagnosticStatus(name="rgb")]))
    assert monitor.statuses["rgb"].reasons == ("status_late",)
    cameras.probe.destroy_publisher(publisher)


def compressed(camera, kind, suffix=".png", before=b""):
    """A live frame as a CompressedImage, and the frame."""
    frame = pixels(kind)
    data = cv2.imencode(suffix, frame[..., ::-1] if frame.ndim == 3 else frame)[1].tobytes()
    header = camera.message().header
    format = "16UC1; compressedDepth png" if before else suffix.strip(".")
    return CompressedImage(header=header, format=format, data=before + data), frame


@pytest.mark.parametrize(
    ("kind", "transport", "before"),
    [
        ("rgb", "compressed", b""),
        ("thermal", "compressed", b""),
        ("depth", "compressed", b""),
        ("depth", "compressedDepth", bytes(12)),
    ],
)
def test_a_camera_that_sends_compressed_images_alone_is_heard(cameras, kind, transport, before):
    camera = Camera(cameras, kind, raw=False)
    raw = cameras.probe.create_publisher(
        CompressedImage, f"{kind}/image_raw/{transport}", qos_profile_sensor_data
    )
    cameras.spin_until(raw.get_subscription_count)
    camera.raw = raw
    for _ in range(6):
        message, frame = compressed(camera, kind, before=before)
        camera.send(message)
    cameras.spin_until(lambda: camera.images and camera.images[-1].header == message.header)
    shown = BRIDGE.imgmsg_to_cv2(camera.images[-1])
    modality = camera.node._modality
    expected = condition(modality, frame, *shown.shape[:2])
    np.testing.assert_array_equal(shown, expected)


def test_a_camera_that_comes_to_send_raw_images_too_is_heard_once(cameras):
    camera = Camera(cameras, raw=False)
    other = cameras.probe.create_publisher(
        CompressedImage, "rgb/image_raw/compressed", qos_profile_sensor_data
    )
    cameras.spin_until(other.get_subscription_count)
    camera.raw = cameras.probe.create_publisher(Image, "rgb/image_raw", qos_profile_sensor_data)
    cameras.spin_until(camera.raw.get_subscription_count)
    camera.send()
    cameras.spin_until(lambda: not other.get_subscription_count())


def test_a_topic_that_is_remapped_to_a_compressed_one_is_taken_as_what_it_is(cameras):
    node = cameras.add(
        RgbNode(
            parameter_overrides=[Parameter("streams_file", value=str(cameras.streams_file(1.0)))],
            cli_args=["--ros-args", "-r", "rgb/image_raw:=/front/image_raw/compressed"],
        )
    )
    types = {s.topic_name: s.msg_type for s in node.subscriptions}
    assert types["/front/image_raw/compressed"] is CompressedImage
    assert "/front/image_raw" not in types


def test_who_asks_for_a_transport_gets_that_one(cameras):
    node = cameras.add(make("depth", cameras.streams_file(1.0), image_transport="compressedDepth"))
    types = {s.topic_name: s.msg_type for s in node.subscriptions}
    assert types["/depth/image_raw/compressedDepth"] is CompressedImage
    with pytest.raises(ParameterError, match="'image_transport' is 'theora'; expected one of auto"):
        make("rgb", cameras.streams_file(1.0), image_transport="theora")


def said(camera, text):
    """Wait until the status says it."""
    camera.graph.spin_until(lambda: any(text in message for message in camera.sentences))


def test_that_nobody_publishes_is_told(cameras):
    camera = Camera(cameras, raw=False)
    said(camera, "no frame yet; nobody publishes /rgb/image_raw or /rgb/image_raw/compressed")


def test_a_camera_of_another_quality_of_service_is_told_and_one_that_fits_works(cameras):
    own = {"qos_overrides./rgb/image_raw.subscription.reliability": "reliable"}
    camera = Camera(cameras, **own)
    said(camera, "incompatible quality of service")
    assert any("/rgb/image_raw from /" in text for text in camera.sentences)


@pytest.mark.parametrize("reliability", [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])
def test_cameras_of_either_reliability_are_heard(cameras, reliability):
    camera = Camera(cameras, raw=False)
    qos = QoSProfile(depth=5, reliability=reliability)
    camera.raw = cameras.probe.create_publisher(Image, "rgb/image_raw", qos)
    cameras.spin_until(camera.raw.get_subscription_count)
    camera.recover()


def test_a_camera_s_own_numbers_count_more_than_the_parameters_of_its_kind(cameras):
    file = cameras.streams_file(1.0)
    table = yaml.safe_load(file.read_text())
    table["streams"][2]["camera"] = {"units": "kelvin", "scale": 0.04}
    file.write_text(yaml.safe_dump(table))
    node = cameras.add(make("thermal", file, scale=0.01))
    # As the recording of the parameters will have it.
    assert node.get_parameter("scale").value == 0.04
    assert node.get_parameter("units").value == "kelvin"
    camera = Camera(cameras, "thermal", node=node)
    kelvin = (pixels("thermal") * np.float32(0.01)).astype(np.float32)
    for _ in range(6):
        noisy = kelvin + RNG.normal(0, 0.05, kelvin.shape).astype(np.float32)
        camera.send(BRIDGE.cv2_to_imgmsg(noisy, "32FC1", camera.message().header))
    cameras.spin_until(lambda: camera.images)
    shown = BRIDGE.imgmsg_to_cv2(camera.images[-1])
    assert 20 < shown.min() <= shown.max() < 25


def test_floats_that_look_like_kelvin_are_refused_with_a_guess(cameras):
    camera = Camera(cameras, "thermal")
    kelvin = (pixels("thermal") * np.float32(0.01)).astype(np.float32)
    camera.send(BRIDGE.cv2_to_imgmsg(kelvin, "32FC1", camera.message().header))
    said(camera, "units kelvin? set thermal.units")
