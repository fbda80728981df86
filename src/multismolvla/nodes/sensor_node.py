"""What the nodes of all cameras share: condition one stream and own its health."""

from __future__ import annotations

import time
from copy import copy

import cv2
import numpy as np
from cv_bridge import CvBridge, CvBridgeError
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from multismolvla.control.load_shedding import CAMERA_RATE, SEGMENTATION_RATE, Load
from multismolvla.nodes import load_message
from multismolvla.nodes.camera_info import scaled
from multismolvla.nodes.lag_probe import LagProbe, with_wait
from multismolvla.nodes.on_demand import OnDemand, subscribed_to
from multismolvla.nodes.parameters import (
    ParameterError,
    declare,
    declare_settings,
    declare_streams_file,
    reject_unknown,
)
from multismolvla.nodes.stamp_ns import stamp_ns
from multismolvla.nodes.stream_status import StatusPublisher
from multismolvla.sensing.conditioning import RawUnits, resize, to_units
from multismolvla.sensing.health import StreamHealth
from multismolvla.sensing.pressure import CpuPressure
from multismolvla.sensing.thresholds import DEFAULTS, Thresholds
from multismolvla.streams import Stream, load_stream_table

# Beside the frames themselves, of which there may be none.
PROBE_S = 0.2


class SensorNode(Node):
    """Turns `<kind>/image_raw` into `<kind>/image` and says on `<kind>/status` how the stream is.

    Frames are passed on while the stream is not lost and the frame itself is sound. A message that
    cannot be used is a finding about the stream, never an error of this node.

    A subclass names its `kind` and the encodings of its raw and conditioned images.
    """

    kind: str
    # What the raw image is converted to first; `passthrough` leaves the numbers as they are.
    raw_encoding = "passthrough"
    # Accepted encodings of raw images; empty accepts whatever cv_bridge converts.
    accepted: tuple[str, ...] = ()
    encoding: str

    def __init__(self, **options) -> None:
        super().__init__(f"{self.kind}_node", **options)
        # One frame at a time: threads of OpenCV would only fight over the cores.
        cv2.setNumThreads(1)
        name = declare(self, "stream", self.kind, "Stream of the table.", read_only=True)
        streams_file = declare_streams_file(self)
        thresholds = declare_settings(self, DEFAULTS[self.kind])
        self._units = declare_settings(self, RawUnits(), f"{self.kind}_")
        self.declare_source()
        reject_unknown(self)
        self._stream = self._checked(load_stream_table(streams_file)[name])

        self._bridge = CvBridge()
        self._health = self.create_health(thresholds)
        self._lag = LagProbe(self, PROBE_S).lag
        self._load = Load()
        self._pressure = CpuPressure()
        # A copy: rclpy writes an override into the profile, which all nodes of a process share.
        self._image = self.create_publisher(
            Image,
            f"{self.kind}/image",
            copy(qos_profile_sensor_data),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._info = self.create_publisher(
            CameraInfo, f"{self.kind}/image/camera_info", qos_profile_sensor_data
        )
        self._status = StatusPublisher(
            self,
            self._stream,
            f"{self.kind}/status",
            lambda: self._health.report(self._now_ns()),
            thresholds.slow_fraction,
            self._lag,
            self._on_beat,
        )
        # Armed anew by every frame, so that it fires only when one is missing.
        self._silence = self.create_timer(self._stream.period_s, self._on_silence, autostart=False)
        load_message.listen(self, self._on_load, self._stream.view)
        self.connect()

    def declare_source(self) -> None:
        """Declare where frames come from, for a kind that leaves a choice."""

    def create_health(self, thresholds: Thresholds) -> StreamHealth:
        """Make the judge of the stream."""
        return StreamHealth(self.kind, self._stream.rate_hz, thresholds)

    def connect(self) -> None:
        """Subscribe to what frames are made of; each goes to `take` or `refuse`."""
        raw = self.create_subscription(
            Image,
            f"{self.kind}/image_raw",
            with_wait(self._on_image),
            copy(qos_profile_sensor_data),  # as above
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        # Beside the image, as image_transport has it, so that it follows when that is remapped.
        self.follow_camera_info(f"{raw.topic_name.rpartition('/')[0]}/camera_info")
        self.get_logger().info(f"{self._stream.name}: waiting for images on {raw.topic_name}")

    def follow_camera_info(self, topic: str) -> None:
        """Pass camera_info on, and take it in, only while somebody wants it."""
        self._demand = OnDemand(
            self,
            subscribed_to(self._info),
            [(CameraInfo, topic, self._on_camera_info, qos_profile_sensor_data)],
        )

    def take(self, frame: np.ndarray, header: Header, wait_ns: int = 0) -> None:
        """Judge a frame in the units of its kind, and publish it if it may be used.

        Args:
            wait_ns: how long it has lain in this process.
        """
        before = self._health.state, self._health.reasons
        self._pressure.mark()
        arrival_ns = self._now_ns() - wait_ns
        if self._health.on_frame(frame, stamp_ns(header.stamp), arrival_ns, wait_ns):
            conditioned = resize(self.kind, frame, self._stream.height, self._stream.width)
            self._image.publish(self._bridge.cv2_to_imgmsg(conditioned, self.encoding, header))
        self._after(before)

    def refuse(self, reason: str, wait_ns: int = 0) -> None:
        """Count what came as no frame."""
        before = self._health.state, self._health.reasons
        self._pressure.mark()
        self._health.on_bad_message(reason, self._now_ns() - wait_ns, wait_ns)
        self._after(before)

    def _checked(self, stream: Stream) -> Stream:
        where = self.get_fully_qualified_name()
        if stream.kind != self.kind:
            raise ParameterError(
                f"{where}: parameter 'stream': '{stream.name}' is a stream of kind {stream.kind}; "
                f"expected one of kind {self.kind}"
            )
        if stream.view and not self.get_namespace().endswith(f"/{stream.view}"):
            raise ParameterError(
                f"{where}: stream '{stream.name}' belongs into namespace '{stream.view}', "
                f"the node is in '{self.get_namespace()}'; start it with -r __ns:=/{stream.view}"
            )
        return stream

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_image(self, message: Image, wait_ns: int) -> None:
        self._lag.note(time.monotonic_ns(), wait_ns)
        try:
            frame = to_units(self.kind, self._read(message), self._units)
        except ValueError as error:
            self.refuse(str(error), wait_ns)
        else:
            self.take(frame, message.header, wait_ns)

    def _on_load(self, load: Load) -> None:
        self._load = load

    def _on_beat(self) -> None:
        self._demand.check()

    def _on_silence(self) -> None:
        before = self._health.state, self._health.reasons
        # The camera's driver may be one of those that wait for a processor.
        waited_s = self._pressure.waited_s()
        lag_s = max(self._lag.worst_s(time.monotonic_ns()), self._load.lag_s, waited_s)
        # A simulated camera that is to send half as many frames is silent for twice as long.
        halved = {CAMERA_RATE, SEGMENTATION_RATE} if self.kind == "segmentation" else {CAMERA_RATE}
        periods = self._health.thresholds.stale_periods if halved & set(self._load.shed) else 0.0
        self._health.excuse(lag_s, periods)
        self._health.tick(self._now_ns())
        self._after(before)

    def _after(self, before: tuple) -> None:
        """Arm the timer for the next deadline, and tell at once what has changed."""
        deadline_ns = self._health.deadline_ns
        if deadline_ns is None:
            self._silence.cancel()
        else:
            self._silence.timer_period_ns = max(deadline_ns - self._now_ns(), 0) + 1
            self._silence.reset()
        if (self._health.state, self._health.reasons) != before:
            self._status.changed()

    def _on_camera_info(self, info: CameraInfo) -> None:
        if info.width and info.height:
            self._info.publish(scaled(info, self._stream.height, self._stream.width))

    def _read(self, message: Image) -> np.ndarray:
        """Return the pixels of a raw image.

        Raises:
            ValueError: the message holds no image, or one of an encoding that is not accepted.
        """
        size = f"image is {message.width}x{message.height}, step {message.step}"
        if not message.width or not message.height:
            raise ValueError(f"{size}: it has no pixels")
        if len(message.data) < message.height * message.step:
            raise ValueError(
                f"{size}, but holds {len(message.data)} bytes of "
                f"{message.height * message.step}: it is truncated"
            )
        if self.accepted and message.encoding not in self.accepted:
            raise ValueError(
                f"encoding is '{message.encoding}'; expected {' or '.join(self.accepted)}"
            )
        return self.decode(message, self.raw_encoding)

    def decode(self, message: Image, encoding: str) -> np.ndarray:
        """Return the pixels of an image in an encoding.

        Raises:
            ValueError: they cannot be had.
        """
        try:
            return self._bridge.imgmsg_to_cv2(message, encoding)
        # cv_bridge passes on what numpy and OpenCV raise for images that contradict themselves.
        except (CvBridgeError, cv2.error, TypeError, ValueError, KeyError) as error:
            said = " ".join(str(error).split())
            raise ValueError(
                f"image is {message.width}x{message.height}, step {message.step}, encoding "
                f"'{message.encoding}': {said}"
            ) from None
