"""From messages to deliveries, which faults can damage, and back again."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from cv_bridge import CvBridge
from sensor_msgs.msg import Image, JointState

from multismolvla.faults.fault import JOINT_STATES, Delivery
from multismolvla.modalities.camera_image import frame_in_units
from multismolvla.modalities.conversion import to_counts
from multismolvla.modalities.encodings import find_encoding
from multismolvla.modalities.registry import find_modality
from multismolvla.nodes.stamp_ns import stamp_ns

# A stamp is 32 bits of seconds; what a fault moves out of them stays at their end.
MAX_STAMP_NS = 2**31 * 10**9 - 1


class DamagedMessages:
    """Knows the messages of each kind of stream.

    Frames of integers are taken as `to_counts` stores them, and given back in the same counts.
    Colour images are given back as rgb8, whatever they were.
    """

    def __init__(self) -> None:
        self._bridge = CvBridge()

    def take(self, kind: str, message: Image | JointState, now_ns: int) -> Delivery:
        """Return what faults work on: the frame, or of joint states the message.

        Raises:
            ValueError: the message holds no picture of its kind.
        """
        frame = message if kind == JOINT_STATES else self._frame(kind, message)
        return Delivery(frame, stamp_ns(message.header.stamp), now_ns, source=message)

    def give(self, kind: str, delivery: Delivery) -> Image | JointState:
        """Return the message of a delivery that `take` made; the header is that of its source."""
        header = delivery.source.header
        if kind == JOINT_STATES:
            message = delivery.frame
        else:
            message = self._image(kind, delivery)
            message.header.frame_id = header.frame_id
        seconds, rest = divmod(min(max(0, delivery.stamp_ns), MAX_STAMP_NS), 10**9)
        message.header.stamp = Time(sec=seconds, nanosec=rest)
        return message

    def _frame(self, kind: str, message: Image) -> np.ndarray:
        modality = find_modality(kind)
        return frame_in_units(modality, message)

    def _image(self, kind: str, delivery: Delivery) -> Image:
        modality = find_modality(kind)
        encoding = modality.encoding
        if find_encoding(delivery.source.encoding).dtype == modality.counts.dtype != modality.dtype:
            encoding = delivery.source.encoding
        counted = encoding != modality.encoding
        frame = to_counts(modality, delivery.frame) if counted else delivery.frame
        image = self._bridge.cv2_to_imgmsg(np.ascontiguousarray(frame), encoding)
        if delivery.share < 1.0:
            image.data = image.data[: int(delivery.share * len(image.data))]
        if delivery.encoding:
            image.encoding = delivery.encoding
        return image
