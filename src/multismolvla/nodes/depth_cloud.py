"""A depth stream as a point cloud, made while it has a subscriber."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from multismolvla.modalities.camera_image import frame_in_units
from multismolvla.modalities.depth import DEPTH
from multismolvla.nodes.monitor_messages import point_cloud
from multismolvla.nodes.on_demand import OnDemand, subscribed_to
from multismolvla.nodes.sensor_qos import offered
from multismolvla.nodes.stamp_ns import stamp_ns

# Depth images as points in space.


def points(depth_m: np.ndarray, k: Sequence[float], stride: int = 1) -> np.ndarray:
    """Return the points (N, 3) float32 in the optical frame, metres, of the pixels with a return.

    Args:
        depth_m: (H, W) distance along the optical axis; NaN, infinite or not positive = no return.
        k: (9,) camera matrix by rows, for this image's size; pixel centres lie at integers.
        stride: every how many-th pixel of every how many-th row is taken.

    Raises:
        ValueError: the image is not (H, W), or the camera matrix is not one.
    """
    if depth_m.ndim != 2:
        raise ValueError(f"depth has shape {depth_m.shape}; expected (H, W)")
    fx, fy, cx, cy = (float(k[i]) for i in (0, 4, 2, 5))
    if not (all(map(math.isfinite, (fx, fy, cx, cy))) and fx > 0 and fy > 0):
        raise ValueError(f"camera_info has fx {fx}, fy {fy}, cx {cx}, cy {cy}; is it calibrated?")
    z = depth_m[::stride, ::stride].astype(np.float32)
    v, u = np.indices(z.shape, np.float32) * stride
    seen = np.isfinite(z) & (z > 0)
    z = z[seen]
    return np.column_stack([(u[seen] - cx) / fx * z, (v[seen] - cy) / fy * z, z]).astype(np.float32)


# Without an image for this long the cloud is cleared: it would look current.
STALE_NS = 1_000_000_000
# Images until a missing camera_info is worth a word; the first of them may well be earlier.
PATIENCE = 15


class DepthCloud:
    """Publishes `<stream>/points` from the conditioned image and the camera_info beside it."""

    def __init__(self, node: Node, stream: str, stride: int) -> None:
        self._node = node
        self._stride = stride
        self._info: CameraInfo | None = None
        self._without_info = 0
        # Frame of the cloud that displays have now; empty: they have none, or an empty one.
        self._shown_in = ""
        self._received_ns = 0
        self._publisher = node.create_publisher(PointCloud2, f"{stream}/points", offered())
        self._demand = OnDemand(
            node,
            subscribed_to(self._publisher),
            [
                (Image, f"{stream}/image", self._on_image, qos_profile_sensor_data),
                (
                    CameraInfo,
                    f"{stream}/image/camera_info",
                    self._on_info,
                    qos_profile_sensor_data,
                ),
            ],
            on_end=self._forget,
        )

    def check(self) -> None:
        """Check for subscribers, and clear an outdated cloud."""
        self._demand.check()
        now = self._node.get_clock().now()
        if self._shown_in and not 0 <= now.nanoseconds - self._received_ns <= STALE_NS:
            header = Header(frame_id=self._shown_in, stamp=now.to_msg())
            self._publisher.publish(point_cloud(np.empty((0, 3), np.float32), header))
            self._shown_in = ""

    def _forget(self) -> None:
        self._info, self._without_info, self._shown_in = None, 0, ""

    def _on_info(self, info: CameraInfo) -> None:
        self._info = info

    def _on_image(self, image: Image) -> None:
        info = self._info
        if info is None:
            self._without_info += 1
            if self._without_info >= PATIENCE:
                raise ValueError("there is no camera_info beside it, so it cannot become points")
            return
        if (info.height, info.width) != (image.height, image.width):
            raise ValueError(
                f"image is {image.width}x{image.height}, its camera_info for "
                f"{info.width}x{info.height}"
            )
        if stamp_ns(image.header.stamp) < 0 or not image.header.frame_id:
            raise ValueError("the header has no frame_id, or a stamp before the epoch")
        depth_m = frame_in_units(DEPTH, image)
        self._publisher.publish(point_cloud(points(depth_m, info.k, self._stride), image.header))
        self._shown_in = image.header.frame_id
        self._received_ns = self._node.get_clock().now().nanoseconds
