"""The messages for RViz, from plain values."""

from __future__ import annotations

import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3
from nav_msgs.msg import Path
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from multismolvla.monitoring.gripper_path import Pose as GripperPose
from multismolvla.monitoring.health_panel import Light, Line

FRAME = "base_link"
# What a monitor that has died has drawn goes away after this time.
LIFETIME = Duration(sec=1)
PLAN_WIDTH_M = 0.004
PLAN_COLOUR = (0.10, 0.75, 1.00)
# The panel stands behind the arm and is read from in front, where +y is to the right.
PANEL_X_M, PANEL_Y_M, PANEL_TOP_M = -0.15, 0.15, 0.42
LINE_M, TEXT_M, VERDICT_M = 0.026, 0.018, 0.032
LAMP_M, LAMP_GAP_M = 0.016, 0.03
# A disc below the base in the verdict's colour: seen where no text can be read.
DISC_RADIUS_M, DISC_HEIGHT_M = 0.13, 0.002


def planned_path(points: np.ndarray, opacity: np.ndarray) -> Marker:
    """A line through points (N, 3) in base_link with an opacity (N,) each."""
    if len(points) < 2:
        return no_planned_path()
    marker = _marker("planned_path", 0, Marker.LINE_STRIP)
    marker.scale = Vector3(x=PLAN_WIDTH_M)
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in points.tolist()]
    marker.colors = [_colour(PLAN_COLOUR, alpha) for alpha in opacity.tolist()]
    marker.color = _colour(PLAN_COLOUR)
    return marker


def no_planned_path() -> Marker:
    """Takes the line away: nothing is going to move."""
    marker = _marker("planned_path", 0, Marker.LINE_STRIP)
    marker.action = Marker.DELETE
    return marker


def executed_path(poses: Sequence[GripperPose], now_ns: int) -> Path:
    """The path of the gripper, oldest pose first."""
    return Path(
        header=_header(now_ns),
        poses=[
            PoseStamped(
                header=_header(pose.stamp_ns),
                pose=Pose(
                    position=Point(**dict(zip("xyz", pose.position, strict=True))),
                    orientation=Quaternion(**dict(zip("xyzw", pose.quaternion, strict=True))),
                ),
            )
            for pose in poses
        ],
    )


def health_panel(verdict: Line, streams: Sequence[Line]) -> MarkerArray:
    """The verdict as text and as a disc below the arm, and a lamp with text for every stream."""
    disc = _marker("verdict", 0, Marker.CYLINDER)
    disc.pose.position.z = -DISC_HEIGHT_M
    disc.scale = Vector3(x=2 * DISC_RADIUS_M, y=2 * DISC_RADIUS_M, z=DISC_HEIGHT_M)
    disc.color = _colour(verdict.light.value, 0.8)
    markers = [disc, _text("verdict", 1, verdict, PANEL_TOP_M, VERDICT_M)]
    for index, line in enumerate(streams):
        height = PANEL_TOP_M - VERDICT_M - LINE_M * (index + 1)
        lamp = _marker("lamps", index, Marker.SPHERE)
        lamp.pose.position = Point(x=PANEL_X_M, y=PANEL_Y_M, z=height)
        # A lost stream's lamp is larger: not everybody sees red and green apart.
        size = LAMP_M * (1.6 if line.light is Light.BAD else 1.0)
        lamp.scale = Vector3(x=size, y=size, z=size)
        lamp.color = _colour(line.light.value)
        markers += [lamp, _text("streams", index, line, height, TEXT_M)]
    return MarkerArray(markers=markers)


def point_cloud(points: np.ndarray, header: Header) -> PointCloud2:
    """Points (N, 3) float32, metres, in the header's frame."""
    cloud = PointCloud2(header=header, height=1, width=len(points), is_dense=True)
    cloud.fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate("xyz")
    ]
    cloud.point_step, cloud.row_step = 12, 12 * len(points)
    # Other types of sequences are checked byte by byte.
    cloud.data = array.array("B", np.ascontiguousarray(points, "<f4").tobytes())
    return cloud


def _marker(namespace: str, number: int, kind: int) -> Marker:
    # Without a stamp: RViz takes the newest transform there is.
    marker = Marker(header=Header(frame_id=FRAME), ns=namespace, id=number, type=kind)
    marker.lifetime = LIFETIME
    marker.pose.orientation.w = 1.0
    return marker


def _text(namespace: str, number: int, line: Line, height: float, size: float) -> Marker:
    marker = _marker(namespace, number, Marker.TEXT_VIEW_FACING)
    # Text is centred where it stands, whatever the view: beyond the lamp by half its length.
    half_m = 0.25 * size * len(line.text)
    marker.pose.position = Point(x=PANEL_X_M, y=PANEL_Y_M + LAMP_GAP_M + half_m, z=height)
    marker.scale = Vector3(z=size)
    marker.text = line.text
    marker.color = _colour(line.light.value)
    return marker


def _colour(rgb: tuple[float, float, float], alpha: float = 1.0) -> ColorRGBA:
    r, g, b = rgb
    return ColorRGBA(r=r, g=g, b=b, a=alpha)


def _header(stamp_ns: int) -> Header:
    stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return Header(frame_id=FRAME, stamp=stamp)
