"""What a running stack shows on its topics: newest statuses, joints, target and images."""

from __future__ import annotations

import time

import numpy as np
from cv_bridge import CvBridge, CvBridgeError
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from multismolvla.embodiment.so101 import SO101
from multismolvla.nodes.misconfigured import MISCONFIGURED
from multismolvla.pictures.episode_log import Sample
from multismolvla.streams import StreamTable

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class StackWatch:
    """Subscribes; every value is the newest.

    Args:
        table: the streams to watch.
        images: take in their images, too.

    Attributes:
        policy, driver: values of the node's status, by key; the driver's also has `level`.
        result: values of the simulator's result, by key.
        misconfigured: what a node reports that cannot start, "" for none.
        joints_rad: (6,) joint positions, or None before the first.
        target_rad: (6,) setpoint, or None before the first.
        images: stream -> message.
    """

    def __init__(self, node: Node, table: StreamTable, images: bool) -> None:
        self._node, self._table = node, table
        self._origin_s = time.monotonic()
        self.policy: dict[str, str] = {}
        self.driver: dict[str, str] = {}
        self.result: dict[str, str] = {}
        self.misconfigured = ""
        self.joints_rad: np.ndarray | None = None
        self.target_rad: np.ndarray | None = None
        self.images: dict[str, Image] = {}
        self._bridge = CvBridge()
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        node.create_subscription(DiagnosticArray, "policy/status", self._on_policy, 1)
        node.create_subscription(DiagnosticArray, "so101_driver/status", self._on_driver, 1)
        node.create_subscription(DiagnosticStatus, "sim_node/result", self._on_result, LATCHED)
        node.create_subscription(JointState, "joint_states", self._on_joints, 1)
        node.create_subscription(JointTrajectory, "joint_trajectory", self._on_target, 1)
        for name in table.names if images else ():
            node.create_subscription(
                Image,
                f"{name}/image",
                lambda message, name=name: self.images.update({name: message}),
                qos_profile_sensor_data,
            )

    @property
    def elapsed_s(self) -> float:
        """Seconds since the watch began."""
        return time.monotonic() - self._origin_s

    def in_use(self, stream: str) -> bool:
        """Whether the policy uses a stream."""
        return self.policy.get(f"mask.{stream}") == "1"

    def sample(self) -> Sample:
        """What is known now."""
        policy, names = self.policy, self._table.names
        return Sample(
            time_s=self.elapsed_s,
            joints_rad=self.joints_rad,
            target_rad=self.target_rad,
            mask={name: self.in_use(name) for name in names},
            mask_reason={name: policy.get(f"mask_reason.{name}", "") for name in names},
            queue_length=int(policy.get("queue_length", "0")),
            mode=policy.get("mode", "unknown"),
            control_rate_hz=float(policy.get("control_rate_hz", "nan")),
            latency_ms=float(policy.get("latency_ms", "nan")),
            overload=policy.get("overload", ""),
            shed=tuple(filter(None, policy.get("shed", "").split(","))),
        )

    def frames(self) -> dict[str, np.ndarray]:
        """The newest image of every stream that has one, decoded."""
        frames = {}
        for name, message in self.images.items():
            try:
                frames[name] = self._bridge.imgmsg_to_cv2(message, "passthrough")
            except CvBridgeError as error:
                self._node.get_logger().warning(f"{name}: {error}")
        return frames

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if any(entry.value == MISCONFIGURED for entry in status.values):
                self.misconfigured = status.message

    def _on_policy(self, message: DiagnosticArray) -> None:
        self.policy = {entry.key: entry.value for entry in message.status[0].values}

    def _on_driver(self, message: DiagnosticArray) -> None:
        status = message.status[0]
        values = {entry.key: entry.value for entry in status.values}
        self.driver = {**values, "level": str(status.level[0])}

    def _on_result(self, message: DiagnosticStatus) -> None:
        self.result = {entry.key: entry.value for entry in message.values}

    def _on_joints(self, message: JointState) -> None:
        position = dict(zip(message.name, message.position, strict=True))
        self.joints_rad = np.array([position[name] for name in SO101.joint_names])

    def _on_target(self, message: JointTrajectory) -> None:
        position = dict(zip(message.joint_names, message.points[0].positions, strict=True))
        self.target_rad = np.array([position[name] for name in SO101.joint_names])
