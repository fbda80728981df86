"""segmentation_node on a real graph: sources come and go, labels keep the source's stamp."""

import functools
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from ament_index_python.packages import get_package_share_directory
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticArray
from patience import HANG_S
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from multismolvla.modalities.segmentation import LABELS
from multismolvla.nodes import segmentation_node
from multismolvla.nodes.parameters import ParameterError
from multismolvla.nodes.segmentation_node import SegmentationNode
from multismolvla.nodes.status_message import STATUS_QOS, from_message, to_message
from multismolvla.nodes.status_monitor import StatusMonitor
from multismolvla.sensing.health import HealthReport, State

BRIDGE = CvBridge()
SOURCES = ("rgb", "depth", "thermal")
FRAMES = {
    "rgb": np.full((24, 32, 3), 90, np.uint8),
    "depth": np.full((24, 32), 0.5, np.float32),
    "thermal": np.full((24, 32), 25.0, np.float32),
}
ENCODINGS = {"rgb": "rgb8", "depth": "32FC1", "thermal": "32FC1"}


class FakeSegmenter:
    """Labels every pixel with a number that says which inputs there were; may be held up."""

    inputs = SOURCES

    def __init__(self):
        self.free = threading.Event()
        self.free.set()
        self.calls = []

    def predict_batch(self, instants):
        return [self.predict(frames) for frames in instants]

    def predict(self, frames):
        self.calls.append(frames)
        assert self.free.wait(HANG_S)
        if any(frame.shape[:2] != (24, 32) for frame in frames.values()):
            raise ValueError("wrong size")
        if "thermal" in frames and frames["thermal"][0, 0] < 0:
            raise RuntimeError("a model may\nraise anything")
        return np.full((24, 32), code(frames), np.uint8)


def code(kinds) -> int:
    return 1 + sum(2 ** SOURCES.index(kind) for kind in kinds if kind != "thermal")


class Rig:
    """The node under test with three sources at its inputs and ears at its outputs."""

    def __init__(self, graph, streams_file, namespace="", **parameters):
        self.graph = graph
        self.stamp_ns = 0
        parameters = {"streams_file": str(streams_file), "slop_s": 0.001, **parameters}
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = graph.add(SegmentationNode(parameter_overrides=overrides, namespace=namespace))
        prefix = f"{namespace}/" if namespace else ""
        probe = graph.probe
        self.images, self.statuses, self.infos = [], [], []
        probe.create_subscription(
            Image, f"{prefix}segmentation/image", self.images.append, qos_profile_sensor_data
        )
        probe.create_subscription(
            DiagnosticArray,
            f"{prefix}segmentation/status",
            lambda message: self.statuses.append(from_message(message)),
            10,
        )
        kinds = () if parameters.get("backend") == "ground_truth" else SOURCES
        self.frames = {
            kind: probe.create_publisher(Image, f"{prefix}{kind}/image", qos_profile_sensor_data)
            for kind in kinds
        }
        self.health = {
            kind: probe.create_publisher(DiagnosticArray, f"{prefix}{kind}/status", STATUS_QOS)
            for kind in kinds
        }
        publishers = (*self.frames.values(), *self.health.values())
        graph.spin_until(
            lambda: (
                all(publisher.get_subscription_count() for publisher in publishers)
                and self.node._image.get_subscription_count()
                and self.statuses
            )
        )

    def say(self, kind, state, reasons=()):
        """Tell a source's health and wait until the node knows."""
        report = HealthReport(state, tuple(reasons), "", 15.0, 0.0, 1)
        message = to_message(kind, "/probe", report, self.node.get_clock().now())

        def known():
            self.health[kind].publish(message)
            return self.node._pipe.health._sources[kind] == (state, tuple(reasons))

        self.graph.spin_until(known)

    def header(self) -> Header:
        """A header of now, but further from the one before than the slop."""
        self.stamp_ns = max(self.node.get_clock().now().nanoseconds, self.stamp_ns + 2_000_000)
        header = Header(frame_id="camera_optical_frame")
        header.stamp.sec, header.stamp.nanosec = divmod(self.stamp_ns, 10**9)
        return header

    def send(self, *kinds, **frames) -> Header:
        header = self.header()
        for kind in kinds:
            frame = frames.get(kind, FRAMES[kind])
            self.frames[kind].publish(BRIDGE.cv2_to_imgmsg(frame, ENCODINGS[kind], header))
        return header

    def labelled(self, *kinds, **frames) -> Header:
        """Send a set and wait until the node has judged its labels."""
        before = self.node._pipe.health.report(0).frames
        header = self.send(*kinds, **frames)
        self.graph.spin_until(lambda: self.node._pipe.health.report(0).frames > before)
        return header

    def recover(self, *kinds):
        for kind in kinds:
            self.say(kind, State.OK)
        for _ in range(5):
            self.labelled(*kinds)
        self.await_status(lambda status: status.state is not State.LOST)

    def await_status(self, condition):
        self.graph.spin_until(lambda: condition(self.statuses[-1]))


@pytest.fixture
def streams_file(tmp_path) -> Path:
    path = tmp_path / "streams.yaml"
    # The rate is so low that a busy machine never makes a stream stale by accident.
    streams = [
        {"name": prefix + kind, "kind": kind, "height": 24, "width": 32, "rate_hz": 0.1}
        | {"frame_id": "camera_optical_frame"}
        | ({"derived_from": [prefix + s for s in SOURCES]} if kind == "segmentation" else {})
        for prefix in ("", "wrist/")
        for kind in (*SOURCES, "segmentation")
    ]
    path.write_text(yaml.safe_dump({"streams": streams}))
    return path


@pytest.fixture(autouse=True)
def patient_monitor(monkeypatch):
    # Sources speak here only when they change; their silence has tests of its own.
    patient = functools.partial(StatusMonitor, late_s=120.0)
    monkeypatch.setattr(segmentation_node, "StatusMonitor", patient)


@pytest.fixture
def segmenter(monkeypatch):
    fake = FakeSegmenter()
    monkeypatch.setattr(segmentation_node, "_create_segmenter", lambda *_: fake)
    return fake


@pytest.mark.parametrize(
    ("namespace", "stream"), [("", "segmentation"), ("wrist", "wrist/segmentation")]
)
def test_labels_carry_the_header_of_their_source(graph, streams_file, segmenter, namespace, stream):
    rig = Rig(graph, streams_file, namespace, stream=stream)
    rig.recover(*SOURCES)
    graph.spin_until(lambda: rig.images)
    header = rig.labelled(*SOURCES)
    graph.spin_until(lambda: rig.images[-1].header.stamp == header.stamp)
    image = rig.images[-1]
    assert image.header.frame_id == "camera_optical_frame"
    assert image.encoding == "mono8"
    labels = BRIDGE.imgmsg_to_cv2(image)
    assert labels.shape == (24, 32)
    assert (labels == code(SOURCES)).all()


def test_keeps_labelling_from_the_sources_that_are_left(graph, streams_file, segmenter):
    rig = Rig(graph, streams_file)
    rig.recover(*SOURCES)
    rig.say("rgb", State.LOST, ["stale"])
    rig.await_status(lambda status: status.state is State.DEGRADED)
    assert "stale" in rig.statuses[-1].reasons
    header = rig.labelled("depth", "thermal")
    graph.spin_until(lambda: rig.images and rig.images[-1].header.stamp == header.stamp)
    assert (BRIDGE.imgmsg_to_cv2(rig.images[-1]) == code(("depth", "thermal"))).all()
    rig.say("depth", State.LOST, ["stale"])
    header = rig.labelled("thermal")
    graph.spin_until(lambda: rig.images[-1].header.stamp == header.stamp)
    rig.say("rgb", State.OK)
    rig.say("depth", State.OK)
    rig.await_status(lambda status: status.state is State.OK)


def test_a_lost_source_is_not_used_although_it_still_sends(graph, streams_file, segmenter):
    rig = Rig(graph, streams_file)
    rig.recover(*SOURCES)
    rig.say("rgb", State.LOST, ["frozen"])
    rig.labelled(*SOURCES)
    assert set(segmenter.calls[-1]) == {"depth", "thermal"}


def test_is_lost_at_once_with_the_last_source_and_returns(graph, streams_file, segmenter):
    rig = Rig(graph, streams_file)
    rig.recover("rgb")
    assert rig.statuses[-1].state is State.DEGRADED
    rig.say("rgb", State.LOST, ["blank"])
    rig.await_status(lambda status: status.state is State.LOST)
    # By the news and not by the frames' silence, which would make it stale.
    assert "blank" in rig.statuses[-1].reasons and "stale" not in rig.statuses[-1].reasons
    rig.recover("depth")


def test_a_slow_model_takes_the_newest_set_and_blocks_nothing(
    graph, streams_file, segmenter, monkeypatch
):
    rig = Rig(graph, streams_file)
    rig.recover("rgb")
    segmenter.free.clear()
    done = len(segmenter.calls)
    rig.send("rgb")
    graph.spin_until(lambda: len(segmenter.calls) == done + 1)
    # While the model works, sets arrive, health is heard and statuses go out.
    submitted = []
    submit = rig.node._worker.submit
    monkeypatch.setattr(
        rig.node._worker, "submit", lambda item: (submit(item), submitted.append(item))
    )
    for k in range(3):
        rig.send("rgb", rgb=np.full((24, 32, 3), k, np.uint8))
        graph.spin_until(lambda k=k: len(submitted) == k + 1)
    told = len(rig.statuses)
    graph.spin_until(lambda: len(rig.statuses) > told + 1)
    rig.say("depth", State.OK)
    assert len(segmenter.calls) == done + 1
    before = rig.node._pipe.health.report(0).frames
    segmenter.free.set()
    graph.spin_until(lambda: rig.node._pipe.health.report(0).frames == before + 2)
    assert [call["rgb"][0, 0, 0] for call in segmenter.calls[done:]] == [90, 2]


def test_what_a_model_raises_is_a_finding_about_the_stream(graph, streams_file, segmenter):
    rig = Rig(graph, streams_file)
    rig.recover("thermal")
    rig.labelled("thermal", thermal=np.full((24, 32), -1.0, np.float32))
    rig.await_status(lambda status: status.reasons[:1] == ("invalid",))
    assert "cannot label: a model may raise anything" in rig.node._pipe.health.report(0).detail
    rig.recover("thermal")


def test_images_of_another_size_or_encoding_are_made_to_fit_or_refused(
    graph, streams_file, segmenter
):
    rig = Rig(graph, streams_file)
    rig.recover("rgb")
    rig.labelled("rgb", rgb=np.full((48, 64, 3), 90, np.uint8))
    assert segmenter.calls[-1]["rgb"].shape == (24, 32, 3)
    rig.frames["rgb"].publish(BRIDGE.cv2_to_imgmsg(FRAMES["depth"], "32FC1", rig.header()))
    rig.await_status(lambda status: "invalid" in status.reasons)
    rig.recover("rgb")


def test_ground_truth_passes_on_the_simulators_labels(graph, streams_file):
    rig = Rig(graph, streams_file, backend="ground_truth")
    raw = graph.probe.create_publisher(Image, "segmentation/image_raw", qos_profile_sensor_data)
    graph.spin_until(raw.get_subscription_count)
    labels = np.zeros((48, 64), np.uint8)
    labels[10:20, 30:40] = 6

    def arrived():
        raw.publish(BRIDGE.cv2_to_imgmsg(labels, "mono8", rig.header()))
        return rig.images

    graph.spin_until(arrived)
    assert np.array_equal(BRIDGE.imgmsg_to_cv2(rig.images[0]), labels[1::2, 1::2])
    rig.await_status(lambda status: status.state is State.OK)
    raw.publish(BRIDGE.cv2_to_imgmsg(labels + len(LABELS), "mono8", rig.header()))
    rig.await_status(lambda status: status.reasons == ("invalid",))


def test_the_shipped_network_labels_on_the_graph(graph, streams_file):
    rig = Rig(graph, streams_file)
    rig.recover("depth")
    graph.spin_until(lambda: rig.images)
    assert BRIDGE.imgmsg_to_cv2(rig.images[-1]).max() < len(LABELS)


def test_camera_info_follows_a_source(graph, streams_file, segmenter):
    rig = Rig(graph, streams_file)
    heard = []
    graph.probe.create_subscription(
        CameraInfo, "segmentation/image/camera_info", heard.append, qos_profile_sensor_data
    )
    info = graph.probe.create_publisher(
        CameraInfo, "rgb/image/camera_info", qos_profile_sensor_data
    )
    graph.spin_until(
        lambda: info.get_subscription_count() and rig.node._info.get_subscription_count()
    )

    def arrived():
        info.publish(CameraInfo(height=48, width=64))
        return heard

    graph.spin_until(arrived)
    assert (heard[0].height, heard[0].width) == (24, 32)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"backend": "oracle"}, "parameter 'backend' is 'oracle'; expected one of network, ground"),
        ({"backend": "transformers"}, "needs the name of a model; parameter 'model'"),
        ({"stream": "rgb"}, "'rgb' is a stream of kind rgb; expected one of kind segmentation"),
        ({"slop": 0.1}, "unknown parameter 'slop'"),
        ({"threads": 0}, "parameter 'threads': expected int in"),
    ],
)
def test_bad_parameters_stop_the_node_with_one_line(graph, streams_file, parameters, said):
    parameters = {"streams_file": str(streams_file), "backend": "ground_truth", **parameters}
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    with pytest.raises(ValueError, match=said) as refusal:
        SegmentationNode(parameter_overrides=overrides)
    assert "\n" not in str(refusal.value)


def test_a_stream_that_nothing_is_derived_from_needs_ground_truth(graph, tmp_path, segmenter):
    path = tmp_path / "alone.yaml"
    stream = {"name": "segmentation", "kind": "segmentation", "height": 24, "width": 32}
    path.write_text(yaml.safe_dump({"streams": [stream | {"rate_hz": 1.0, "frame_id": "f"}]}))
    with pytest.raises(ParameterError, match="derived from nothing; expected one of rgb"):
        SegmentationNode(parameter_overrides=[Parameter("streams_file", value=str(path))])


def test_the_shipped_configuration_is_complete_and_equals_the_defaults(
    graph, streams_file, segmenter
):
    path = Path(get_package_share_directory("multismolvla")) / "config/segmentation_node.yaml"
    shipped = yaml.safe_load(path.read_text())["/**"]["ros__parameters"]
    rig = Rig(graph, streams_file, slop_s=shipped["slop_s"])
    own = ("stream", "streams_file", "backend", "use_sim_time", "start_type_description_service")
    declared = {
        name: parameter.value
        for name, parameter in rig.node._parameters.items()
        if name not in own and not name.startswith("qos_overrides")
    }
    assert shipped == declared
