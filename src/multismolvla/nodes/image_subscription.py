"""A camera's images in whichever way it sends them, by the conventions of image_transport."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from multismolvla.modalities.modality import Modality
from multismolvla.nodes.lag_probe import with_wait
from multismolvla.stack.settings import TRANSPORTS

AUTO, RAW, COMPRESSED, COMPRESSED_DEPTH = TRANSPORTS


class ImageSubscription:
    """Subscribes to `<topic>`, `<topic>/compressed` or `<topic>/compressedDepth`.

    With `auto` that is the raw topic, and a compressed one for as long as only that has a
    publisher. A topic that was remapped to a compressed one is taken as what it is.

    Args:
        topic: of the raw images, before remapping.
        transport: one of `TRANSPORTS`.
        callback: called with each message and how long it has waited in this process, nanoseconds.

    Attributes:
        base: the topic of the raw images, remapped.
    """

    def __init__(
        self,
        node: Node,
        modality: Modality,
        topic: str,
        transport: str,
        callback: Callable[[Any, int], None],
    ) -> None:
        self._node, self._callback = node, callback
        # The picture with all of its bits comes first.
        self._compressed = (COMPRESSED_DEPTH, COMPRESSED) if modality.no_return else (COMPRESSED,)
        self.base = node.resolve_topic_name(topic)
        for word in (COMPRESSED, COMPRESSED_DEPTH):
            if self.base.endswith(f"/{word}"):
                self.base, transport = self.base.removesuffix(f"/{word}"), word
        self._auto = transport == AUTO
        start = RAW if self._auto else transport
        self._first = self._subscribe(start, QoSOverridingOptions.with_default_policies())
        self._second: Subscription | None = None

    def topic(self, transport: str) -> str:
        """Where a transport's images are."""
        return self.base if transport == RAW else f"{self.base}/{transport}"

    def look(self) -> str:
        """Find out why nothing comes, and follow the camera where it is; "" if nothing is odd."""
        problem = self._problem(self._first)
        if not self._auto or self._node.count_publishers(self.base):
            return problem
        if self._second is None:
            for transport in self._compressed:
                if self._node.count_publishers(self.topic(transport)):
                    self._second = self._subscribe(transport)
                    self._node.get_logger().info(f"takes images from {self._second.topic_name}")
                    break
        return problem if self._second is None else self._problem(self._second)

    def _subscribe(
        self, transport: str, overriding: QoSOverridingOptions | None = None
    ) -> Subscription:
        return self._node.create_subscription(
            Image if transport == RAW else CompressedImage,
            self.topic(transport),
            with_wait(self._on_raw if transport == RAW else self._callback),
            # A copy: rclpy writes an override into the profile, which a process shares.
            copy(qos_profile_sensor_data),
            qos_overriding_options=overriding,
        )

    def _on_raw(self, message: Image, wait_ns: int) -> None:
        if self._second is not None:
            # A camera that has come to send raw images, too, would be heard twice.
            self._node.destroy_subscription(self._second)
            self._second = None
        self._callback(message, wait_ns)

    def _problem(self, subscription: Subscription) -> str:
        topic = subscription.topic_name
        publishers = self._node.get_publishers_info_by_topic(topic)
        if not publishers:
            others = [self.topic(transport) for transport in self._compressed if self._auto]
            return f"nobody publishes {' or '.join((topic, *others))}"
        for publisher in publishers:
            expected = f"sensor_msgs/msg/{subscription.msg_type.__name__}"
            if publisher.topic_type != expected:
                return f"{topic} is a {publisher.topic_type}; expected a {expected}"
            answer, reason = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
            if answer == QoSCompatibility.ERROR:
                who = f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"
                return f"{topic} from {who}: incompatible quality of service: {reason.strip()}"
        return ""
