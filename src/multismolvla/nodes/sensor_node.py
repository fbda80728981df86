"""What the nodes of all cameras share: condition one stream and own its health."""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np
from cv_bridge import CvBridge
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from multismolvla.control.load_shedding import Load
from multismolvla.modalities.camera_image import raw_frame
from multismolvla.modalities.modality import Counts
from multismolvla.modalities.registry import find_modality
from multismolvla.modalities.thresholds import Thresholds
from multismolvla.nodes import load_message
from multismolvla.nodes.camera_messages import scaled
from multismolvla.nodes.deadline_timer import DeadlineTimer
from multismolvla.nodes.image_subscription import ImageSubscription
from multismolvla.nodes.lag_probe import LagProbe
from multismolvla.nodes.on_demand import OnDemand, subscribed_to
from multismolvla.nodes.parameters import declare_settings, declare_stream, reject_unknown
from multismolvla.nodes.sensor_qos import offered
from multismolvla.nodes.stamp_ns import stamp_ns
from multismolvla.nodes.status_publisher import StatusPublisher
from multismolvla.sensing.health import HealthReport
from multismolvla.sensing.pressure import CpuPressure
from multismolvla.stack.settings import CameraSettings
from multismolvla.stack.stream_pipe import StreamPipe

# Beside the frames themselves, of which there may be none.
PROBE_S = 0.2


class SensorNode(Node):
    """Turns `<kind>/image_raw` into `<kind>/image` and reports its health on `<kind>/status`.

    Frames are passed on while the stream is not lost and the frame itself is sound. A message that
    cannot be used is a finding about the stream, never an error of this node.

    A subclass names its `kind`; the rest is in the description of that modality.
    """

    kind: str

    def __init__(self, **options) -> None:
        self._modality = find_modality(self.kind)
        super().__init__(f"{self.kind}_node", **options)
        # One frame at a time: threads of OpenCV would only fight over the cores.
        cv2.setNumThreads(1)
        self._stream, self._table = declare_stream(self, self.kind)
        thresholds = declare_settings(self, self._modality.health)
        own = self._table.cameras.get(self._stream.name, {})
        counts = declare_settings(self, self._modality.counts, own)
        self._transport = declare_settings(self, CameraSettings()).image_transport
        self.declare_source()
        reject_unknown(self)

        self._bridge = CvBridge()
        self._camera: ImageSubscription | None = None
        # Why nothing comes, as far as the graph shows it.
        self._link = ""
        self._pipe = self.create_pipe(thresholds, counts)
        self._lag = LagProbe(self, PROBE_S).lag
        self._load = Load()
        self._pressure = CpuPressure()
        self._image = self.create_publisher(
            Image,
            f"{self.kind}/image",
            offered(),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._info = self.create_publisher(CameraInfo, f"{self.kind}/image/camera_info", offered())
        self._status = StatusPublisher(
            self,
            self._stream,
            f"{self.kind}/status",
            self._report,
            thresholds.slow_fraction,
            self._lag,
            self._on_beat,
        )
        # Set anew by every frame, so that it fires only when one is missing.
        self._silence = DeadlineTimer(self, self._on_silence)
        load_message.listen(self, self._on_load, self._stream.view)
        self.connect()

    def declare_source(self) -> None:
        """Declare where frames come from, for a kind that leaves a choice."""

    def create_pipe(self, thresholds: Thresholds, counts: Counts) -> StreamPipe:
        """Make what judges and conditions the frames."""
        return StreamPipe(self._stream, thresholds, counts)

    def connect(self) -> None:
        """Subscribe to what frames are made of; each goes to `take` or `refuse`."""
        self._camera = ImageSubscription(
            self, self._modality, f"{self.kind}/image_raw", self._transport, self._on_image
        )
        base = self._camera.base
        # Beside the image, as image_transport has it, so that it follows when that is remapped.
        self.follow_camera_info(f"{base.rpartition('/')[0]}/camera_info")
        self.get_logger().info(f"{self._stream.name}: waiting for images on {base}")

    def follow_camera_info(self, topic: str) -> None:
        """Pass camera_info on, and take it in, only while somebody wants it."""
        self._demand = OnDemand(
            self,
            subscribed_to(self._info),
            [(CameraInfo, topic, self._on_camera_info, qos_profile_sensor_data)],
        )

    def take(self, pixels: np.ndarray, header: Header, wait_ns: int = 0) -> None:
        """Judge a frame, and publish it if it may be used.

        Args:
            pixels: raw; see `StreamPipe.take`.
            wait_ns: how long it has lain in this process.
        """
        self._pressure.mark()
        arrival_ns = self._now_ns() - wait_ns
        frame = self._pipe.take(pixels, stamp_ns(header.stamp), arrival_ns, wait_ns)
        if frame is not None:
            encoding = self._modality.encoding
            self._image.publish(self._bridge.cv2_to_imgmsg(frame, encoding, header))
        self.update_status()

    def refuse(self, reason: str, wait_ns: int = 0) -> None:
        """Count what came as no frame."""
        self._pressure.mark()
        self._pipe.refuse(reason, self._now_ns() - wait_ns, wait_ns)
        self.update_status()

    def update_status(self) -> None:
        """Wait for the next deadline, and report at once what has changed."""
        self._silence.set(self._pipe.deadline_ns)
        if self._pipe.changed():
            self._status.changed()

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _report(self) -> HealthReport:
        report = self._pipe.health.report(self._now_ns())
        if self._link and "stale" in report.reasons:
            return replace(report, detail=f"{report.detail}; {self._link}")
        return report

    def _on_image(self, message: Image | CompressedImage, wait_ns: int) -> None:
        self._lag.note(time.monotonic_ns(), wait_ns)
        try:
            pixels = raw_frame(self._modality, message)
        except ValueError as error:
            self.refuse(str(error), wait_ns)
        else:
            self.take(pixels, message.header, wait_ns)

    def _on_load(self, load: Load) -> None:
        self._load = load

    def _on_beat(self) -> None:
        self._demand.check()
        if self._camera is not None and not self._pipe.alive:
            self._link = self._camera.look()

    def _on_silence(self) -> None:
        # The camera's driver may be one of those that wait for a processor.
        waited_s = self._pressure.waited_s()
        lag_s = max(self._lag.worst_s(time.monotonic_ns()), self._load.lag_s, waited_s)
        self._pipe.tick(self._now_ns(), lag_s, self._load.shed)
        self.update_status()

    def _on_camera_info(self, info: CameraInfo) -> None:
        if info.width and info.height:
            self._info.publish(scaled(info, self._stream.height, self._stream.width))


def camera_node(kind: str) -> type[SensorNode]:
    """The class of the node of a kind of camera that has none of its own."""
    return type(f"{kind.capitalize()}Node", (SensorNode,), {"kind": kind})
