"""Between plain arrays and the standard ROS messages of a bag, serialised, without ROS."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from multismolvla.data.recorded_bag import RecordedBag
from multismolvla.modalities.registry import modality_of

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
JOINT_STATE = "sensor_msgs/msg/JointState"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
MARKERS = "visualization_msgs/msg/MarkerArray"
STRING = "std_msgs/msg/String"
NUMBERS = "std_msgs/msg/Float64MultiArray"
STATUS = "diagnostic_msgs/msg/DiagnosticArray"

_CUBE, _ADD = 1, 0


@functools.cache
def typestore() -> Typestore:
    """The message definitions of ROS 2 Jazzy."""
    return get_typestore(Stores.ROS2_JAZZY)


def decoded(bag: RecordedBag, *topics: str) -> Iterator[tuple[str, int, object]]:
    """Yield (topic, recorder's time in nanoseconds, message) of those topics that a bag has.

    Messages that are damaged are left out.
    """
    store = typestore()
    for topic, logged_ns, data in bag.messages([name for name in topics if name in bag.topics]):
        try:
            message = store.deserialize_cdr(data, bag.topics[topic].type_name)
        # What bytes that are no message make rosbags raise is not one family of errors.
        except Exception:
            continue
        yield topic, logged_ns, message


def serialize(message: object, type_name: str) -> bytes:
    return bytes(typestore().serialize_cdr(message, type_name))


def header(stamp_ns: int, frame_id: str = "") -> object:
    """A std_msgs/Header."""
    time = _type("builtin_interfaces/msg/Time")(
        sec=int(stamp_ns // 10**9), nanosec=int(stamp_ns % 10**9)
    )
    return _type("std_msgs/msg/Header")(stamp=time, frame_id=frame_id)


def image(stream: str, stamp_ns: int, frame: np.ndarray) -> bytes:
    """A stored frame (H, W[, 3]), or one of floats in SI units, as sensor_msgs/Image."""
    height, width = frame.shape[:2]
    modality = modality_of(stream)
    in_units = frame.dtype == modality.dtype
    encoding = modality.encoding if in_units else modality.stored_encoding
    return serialize(
        _type(IMAGE)(
            header=header(stamp_ns, f"{stream.rpartition('/')[0] or 'top'}_camera_optical_frame"),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=width * frame.itemsize * (frame.shape[2] if frame.ndim == 3 else 1),
            data=np.ascontiguousarray(frame).reshape(-1).view(np.uint8),
        ),
        IMAGE,
    )


def joint_state(stamp_ns: int, joints: Sequence[str], positions: np.ndarray) -> bytes:
    """Positions (J,) of these joints in radians."""
    empty = np.zeros(0)
    message = _type(JOINT_STATE)(
        header=header(stamp_ns),
        name=list(joints),
        position=np.ascontiguousarray(positions, np.float64),
        velocity=empty,
        effort=empty,
    )
    return serialize(message, JOINT_STATE)


def trajectory(
    stamp_ns: int, joints: Sequence[str], offsets_ns: np.ndarray, targets: np.ndarray
) -> bytes:
    """Targets (N, J) of these joints in radians at `stamp_ns + offsets_ns`."""
    point, duration = (
        _type("trajectory_msgs/msg/JointTrajectoryPoint"),
        _type("builtin_interfaces/msg/Duration"),
    )
    empty = np.zeros(0)
    points = [
        point(
            positions=row,
            velocities=empty,
            accelerations=empty,
            effort=empty,
            time_from_start=duration(sec=int(offset // 10**9), nanosec=int(offset % 10**9)),
        )
        for offset, row in zip(offsets_ns, np.ascontiguousarray(targets, np.float64), strict=True)
    ]
    message = _type(TRAJECTORY)(header=header(stamp_ns), joint_names=list(joints), points=points)
    return serialize(message, TRAJECTORY)


def objects(stamp_ns: int, poses: Mapping[str, np.ndarray]) -> bytes:
    """Object -> (7,) x, y, z, qw, qx, qy, qz in base_link, as `sim_node` publishes them."""
    point, quaternion = _type("geometry_msgs/msg/Point"), _type("geometry_msgs/msg/Quaternion")
    pose_type, vector = _type("geometry_msgs/msg/Pose"), _type("geometry_msgs/msg/Vector3")
    time, duration = _type("builtin_interfaces/msg/Time"), _type("builtin_interfaces/msg/Duration")
    colour, picture = _type("std_msgs/msg/ColorRGBA"), _type("sensor_msgs/msg/CompressedImage")
    stamped = header(stamp_ns, "base_link")
    markers = []
    for name, pose in poses.items():
        x, y, z, qw, qx, qy, qz = (float(value) for value in pose)
        markers.append(
            _type("visualization_msgs/msg/Marker")(
                header=stamped,
                ns=name,
                id=0,
                type=_CUBE,
                action=_ADD,
                pose=pose_type(point(x=x, y=y, z=z), quaternion(x=qx, y=qy, z=qz, w=qw)),
                scale=vector(x=0.03, y=0.03, z=0.03),
                color=colour(r=0.5, g=0.5, b=0.5, a=1.0),
                lifetime=duration(sec=0, nanosec=0),
                frame_locked=False,
                points=[],
                colors=[],
                texture_resource="",
                texture=picture(
                    header=_type("std_msgs/msg/Header")(time(sec=0, nanosec=0), ""),
                    format="",
                    data=np.zeros(0, np.uint8),
                ),
                uv_coordinates=[],
                text="",
                mesh_resource="",
                mesh_file=_type("visualization_msgs/msg/MeshFile")("", np.zeros(0, np.uint8)),
                mesh_use_embedded_materials=False,
            )
        )
    return serialize(_type(MARKERS)(markers=markers), MARKERS)


def numbers(names: Sequence[str], rows: np.ndarray) -> bytes:
    """Rows (N, A) of numbers with these names, which are no joints; the message has no stamp."""
    count, width = rows.shape
    dimension = _type("std_msgs/msg/MultiArrayDimension")
    layout = _type("std_msgs/msg/MultiArrayLayout")(
        dim=[
            dimension(label="rows", size=count, stride=count * width),
            dimension(label=",".join(names), size=width, stride=width),
        ],
        data_offset=0,
    )
    data = np.ascontiguousarray(rows, np.float64).reshape(-1)
    return serialize(_type(NUMBERS)(layout=layout, data=data), NUMBERS)


def rows_of(message: object) -> np.ndarray:
    """The rows (N, A) of a deserialised message of `numbers`."""
    return message.data.reshape([dimension.size for dimension in message.layout.dim])


def text(value: str) -> bytes:
    return serialize(_type(STRING)(data=value), STRING)


def stamp_of(header: object) -> int:
    """Nanoseconds of a deserialised header."""
    return header.stamp.sec * 10**9 + header.stamp.nanosec


def points(message: object, now_ns: int, joints: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,) and targets (N, J) of these joints in a deserialised trajectory.

    A stamp of zero means now.

    Raises:
        ValueError: it has no points, or lacks a joint; one line.
    """
    names = list(message.joint_names)
    missing = [name for name in joints if name not in names]
    if missing or not message.points:
        what = f"no joint {missing[0]}; it has {', '.join(names)}" if missing else "no points"
        raise ValueError(f"trajectory has {what}")
    start_ns = stamp_of(message.header) or now_ns
    offsets = [p.time_from_start.sec * 10**9 + p.time_from_start.nanosec for p in message.points]
    targets = np.array([point.positions for point in message.points])
    # Whatever order others have their joints in.
    return start_ns + np.array(offsets, np.int64), targets[:, [names.index(j) for j in joints]]


def pose(message: object) -> np.ndarray:
    """(7,) x, y, z, qw, qx, qy, qz of a deserialised geometry_msgs/Pose."""
    p, q = message.position, message.orientation
    return np.array([p.x, p.y, p.z, q.w, q.x, q.y, q.z])


def status_values(message: object) -> dict[str, str]:
    """The values of the one status of a deserialised DiagnosticArray; empty without one."""
    return {pair.key: pair.value for status in message.status[:1] for pair in status.values}


def joint_positions(message: object, joints: Sequence[str]) -> np.ndarray:
    """Positions (J,) of these joints in a deserialised JointState, NaN where it has none."""
    positions = dict(zip(message.name, message.position, strict=False))
    return np.array([positions.get(name, np.nan) for name in joints])


def _type(name: str) -> type:
    return typestore().types[name]
