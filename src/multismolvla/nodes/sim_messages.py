"""What the simulated robot publishes beside its images: calibration, objects, result."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from mujoco import MjModel
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from multismolvla.nodes.camera_messages import raw_image
from multismolvla.nodes.sensor_qos import offered
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.layout import SHAPES
from multismolvla.streams import Stream, StreamTable


def camera_info(cameras: Cameras, stream: Stream) -> CameraInfo:
    """The calibration of a simulated camera, without a header."""
    fx, fy, cx, cy = (float(value) for value in cameras.intrinsics(stream.name))
    return CameraInfo(
        height=stream.height,
        width=stream.width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


class CameraTopics:
    """`<stream>/image_raw` and `<stream>/camera_info` of every stream of a table."""

    def __init__(self, node: Node, table: StreamTable, cameras: Cameras) -> None:
        self._table, self._bridge = table, CvBridge()
        self._infos = {stream.name: camera_info(cameras, stream) for stream in table}
        self._outputs = {
            name: (
                node.create_publisher(Image, f"{name}/image_raw", offered()),
                node.create_publisher(CameraInfo, f"{name}/camera_info", offered()),
            )
            for name in table.names
        }

    def publish(self, frames: Mapping[str, np.ndarray], stamp: Time) -> None:
        """Publish frames in SI units, by stream, where there is a subscriber."""
        for name, frame in frames.items():
            stream = self._table[name]
            header = Header(stamp=stamp, frame_id=stream.frame_id)
            image, info = self._outputs[name]
            # Without a subscriber they would cost as much.
            if image.get_subscription_count():
                image.publish(raw_image(self._bridge, stream.modality, frame, header))
            if info.get_subscription_count():
                self._infos[name].header = header
                info.publish(self._infos[name])


def object_colours(model: MjModel) -> dict[str, ColorRGBA]:
    """Object -> its colour in the simulation."""
    colours = {}
    for name in SHAPES:
        material = model.geom_matid[model.geom(name).id]
        r, g, b, a = model.mat_rgba[material].tolist()
        colours[name] = ColorRGBA(r=r, g=g, b=b, a=a)
    return colours


def object_markers(
    poses: Mapping[str, np.ndarray], colours: Mapping[str, ColorRGBA], stamp: Time
) -> MarkerArray:
    """The objects for RViz.

    Args:
        poses: object -> (7,) x, y, z, qw, qx, qy, qz in base_link.
    """
    markers = []
    for name, pose in poses.items():
        x, y, z, qw, qx, qy, qz = (float(value) for value in pose)
        shape = SHAPES[name]
        marker = Marker(
            header=Header(stamp=stamp, frame_id="base_link"),
            ns=name,
            type=Marker.CYLINDER if shape.round else Marker.CUBE,
            color=colours[name],
        )
        marker.scale.x, marker.scale.y, marker.scale.z = (2.0 * half for half in shape.half)
        marker.pose.position.x, marker.pose.position.y, marker.pose.position.z = x, y, z
        marker.pose.orientation.w, marker.pose.orientation.x = qw, qx
        marker.pose.orientation.y, marker.pose.orientation.z = qy, qz
        markers.append(marker)
    return MarkerArray(markers=markers)


def result(success: bool, values: Mapping[str, object]) -> DiagnosticStatus:
    """Whether the task is solved."""
    return DiagnosticStatus(
        name="result",
        message="success" if success else "not yet",
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
