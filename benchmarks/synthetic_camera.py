"""Raw frames of a still scene with sensor noise, ready to be published."""

from __future__ import annotations

import numpy as np
from cv_bridge import CvBridge
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

ENCODINGS = {"rgb": "rgb8", "depth": "16UC1", "thermal": "mono16"}


def live_messages(kind: str, height: int, width: int, count: int, seed: int) -> list[Image]:
    """Return `count` different messages of the same scene."""
    rng = np.random.default_rng(seed)
    blocks = (np.indices((height, width)) // (height // 6)).sum(axis=0) % 2
    shape = (height, width, 3) if kind == "rgb" else (height, width)
    low, high, noise, dtype = {
        "rgb": (80, 140, 2.0, np.uint8),
        "depth": (600, 650, 2.0, np.uint16),
        "thermal": (29500, 29600, 5.0, np.uint16),
    }[kind]
    scene = np.where(blocks, high, low)
    scene = scene[..., None] if kind == "rgb" else scene
    bridge = CvBridge()
    return [
        bridge.cv2_to_imgmsg(
            (scene + rng.normal(0.0, noise, shape)).astype(dtype),
            ENCODINGS[kind],
            Header(frame_id="camera_optical_frame"),
        )
        for _ in range(count)
    ]


class SyntheticCamera:
    """Publishes prepared messages in turn, stamped with the time of publication."""

    def __init__(self, node: Node, kind: str, height: int, width: int, seed: int) -> None:
        self._clock = node.get_clock()
        self.live = live_messages(kind, height, width, 16, seed)
        self.black = live_messages(kind, height, width, 1, seed)[0]
        self.black.data = bytes(len(self.black.data))
        self.publisher: Publisher = node.create_publisher(
            Image, f"{kind}/image_raw", qos_profile_sensor_data
        )
        self._count = 0

    def publish(self, message: Image | None = None) -> None:
        """Publish the next live message, or the one given, with a fresh stamp."""
        if message is None:
            message = self.live[self._count % len(self.live)]
            self._count += 1
        message.header.stamp = self._clock.now().to_msg()
        self.publisher.publish(message)
