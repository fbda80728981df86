"""Where the arm's frames are, on machines without robot_state_publisher.

Started by the bring-up in its place. `tf2_msgs` has no wheel on PyPI: where it is absent, the
frames of the cameras and the gripper come as poses only, in message types that are there.
"""

from __future__ import annotations

import math

from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, TransformStamped, Vector3
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from multismolvla.monitoring.frames import Frames, Transform
from multismolvla.monitoring.urdf import load_urdf
from multismolvla.nodes.parameters import ParameterError, declare, declare_file, reject_unknown
from multismolvla.nodes.run import run
from multismolvla.nodes.stamp_ns import stamp_ns

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # On the wheels.
    TFMessage = None

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# What people look up: the cameras' frames, and the point that grips.
POSES = ["top_camera_optical_frame", "wrist_camera_optical_frame", "gripper_link", "grip"]
FRAMES = "Frames whose poses in the base are published as messages, beside TF."


class TfBroadcaster(Node):
    """Turns `joint_states` into `/tf`, `/tf_static` and `poses/<frame>`.

    Poses are in the root frame of the description; those that never move are latched. Joint states
    that come faster than `max_rate_hz` are skipped, and those of other joints ignored.
    """

    def __init__(self, **options) -> None:
        super().__init__("tf_broadcaster", **options)
        urdf = declare_file(self, "urdf", "", "Robot description, a file; required.")
        wanted = declare(self, "poses", POSES, FRAMES, read_only=True)
        rate_hz = declare(
            self,
            "max_rate_hz",
            30.0,
            "Most messages per second of a moving frame.",
            minimum=0.1,
            maximum=1000.0,
            read_only=True,
        )
        reject_unknown(self)
        if not urdf:
            raise ParameterError(f"{self.get_fully_qualified_name()}: parameter 'urdf' is missing")
        self._frames = Frames(load_urdf(urdf))
        known = self._frames.still | self._frames.moving
        if unknown := [frame for frame in wanted if frame not in known]:
            raise ParameterError(
                f"{self.get_fully_qualified_name()}: parameter 'poses' names '{unknown[0]}'; "
                f"{urdf} has {', '.join(sorted(known))}"
            )
        self._period_ns = round(1e9 / rate_hz)
        self._last_ns: int | None = None
        self._outputs = {
            frame: self.create_publisher(
                PoseStamped, f"poses/{frame}", LATCHED if frame in self._frames.still else 10
            )
            for frame in wanted
        }
        self._tf = None
        if TFMessage is not None:
            self._tf = self.create_publisher(TFMessage, "/tf", QoSProfile(depth=100))
            self._tf_static = self.create_publisher(TFMessage, "/tf_static", LATCHED)
        now = self.get_clock().now().to_msg()
        if self._tf is not None:
            self._tf_static.publish(_tf_message(now, self._frames.fixed()))
        for frame, pose in self._frames.poses({}).items():
            if frame in self._outputs and frame in self._frames.still:
                self._outputs[frame].publish(_pose_message(now, pose))
        self.create_subscription(
            JointState, "joint_states", self._on_joint_states, qos_profile_sensor_data
        )

    def _on_joint_states(self, message: JointState) -> None:
        now_ns = stamp_ns(message.header.stamp)
        # A clock that jumped back starts anew.
        if self._last_ns is not None and 0 <= now_ns - self._last_ns < self._period_ns:
            return
        pairs = zip(message.name, message.position, strict=False)
        angles = {name: angle for name, angle in pairs if math.isfinite(angle)}
        if not angles.keys() & set(self._frames.joints):
            return
        self._last_ns = now_ns
        stamp = message.header.stamp
        if self._tf is not None:
            self._tf.publish(_tf_message(stamp, self._frames.turned(angles)))
        for frame, pose in self._frames.poses(angles).items():
            if frame in self._outputs and frame in self._frames.moving:
                self._outputs[frame].publish(_pose_message(stamp, pose))


def _quaternion(transform: Transform) -> Quaternion:
    w, x, y, z = transform.wxyz
    return Quaternion(w=w, x=x, y=y, z=z)


def _pose_message(stamp, transform: Transform) -> PoseStamped:
    x, y, z = transform.position
    return PoseStamped(
        header=Header(stamp=stamp, frame_id=transform.parent),
        pose=Pose(position=Point(x=x, y=y, z=z), orientation=_quaternion(transform)),
    )


def _tf_message(stamp, transforms: list[Transform]):
    message = TFMessage()
    for transform in transforms:
        x, y, z = transform.position
        one = TransformStamped(
            header=Header(stamp=stamp, frame_id=transform.parent), child_frame_id=transform.child
        )
        one.transform.translation = Vector3(x=x, y=y, z=z)
        one.transform.rotation = _quaternion(transform)
        message.transforms.append(one)
    return message


def main() -> int:
    return run(TfBroadcaster)
