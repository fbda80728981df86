"""What a running stack shows on its topics: newest statuses, states, target and images."""

from __future__ import annotations

import time

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from multismolvla.embodiment.description import Embodiment
from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.camera_image import numbers
from multismolvla.nodes.misconfigured import MISCONFIGURED
from multismolvla.nodes.stamp_ns import stamp_ns
from multismolvla.pictures.episode_log import Sample
from multismolvla.streams import StreamTable

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class StackWatch:
    """Subscribes; every value is the newest.

    Args:
        table: the streams to watch.
        images: take in their images, too.
        arm: whose states and actions they are.
        simulated: take the time from the stamps of the states, which stand still with a simulator
            that publishes /clock.

    Attributes:
        policy, driver: values of the node's status, by key; the driver's also has `level`.
        result: values of the simulator's result, by key.
        misconfigured: what a node reports that cannot start, "" for none.
        state: (S,) of the arm, radians for joints, or None before the first.
        target: (A,) setpoint, or None before the first.
        images: stream -> message.
    """

    def __init__(
        self,
        node: Node,
        table: StreamTable,
        images: bool,
        arm: Embodiment = SO101,
        simulated: bool = False,
    ) -> None:
        self._node, self._table, self._arm = node, table, arm
        self._simulated, self._stamp_s = simulated, 0.0
        self._origin_s = time.monotonic()
        self.policy: dict[str, str] = {}
        self.driver: dict[str, str] = {}
        self.result: dict[str, str] = {}
        self.misconfigured = ""
        self.state: np.ndarray | None = None
        self.target: np.ndarray | None = None
        self.images: dict[str, Image] = {}
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
        """Seconds since the watch began, or of the simulator's clock."""
        return self._stamp_s if self._simulated else time.monotonic() - self._origin_s

    def in_use(self, stream: str) -> bool:
        """Whether the policy uses a stream."""
        return self.policy.get(f"mask.{stream}") == "1"

    @property
    def follows(self) -> bool | None:
        """Whether the arm follows commands, as its driver or simulator says; None if unknown."""
        state = self.driver.get("state", self.result.get("arm"))
        return None if state is None else state == "TRACKING"

    def sample(self) -> Sample:
        """What is known now."""
        policy, names = self.policy, self._table.names
        return Sample(
            time_s=self.elapsed_s,
            state=self.state,
            target=self.target,
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
                frames[name] = numbers(message)
            except ValueError as error:
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
        self._stamp_s = stamp_ns(message.header.stamp) * 1e-9
        position = dict(zip(message.name, message.position, strict=True))
        self.state = np.array([position[name] for name in self._arm.state_names])

    def _on_target(self, message: JointTrajectory) -> None:
        position = dict(zip(message.joint_names, message.points[0].positions, strict=True))
        self.target = np.array([position[name] for name in self._arm.action_names])
