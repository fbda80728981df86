"""Inputs of the policy node: newest images, statuses, joint states and privileged poses.

An image is converted once, when the set that it belongs to is complete.
"""

from __future__ import annotations

import time

import numpy as np
from message_filters import Subscriber
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from visualization_msgs.msg import MarkerArray

from multismolvla.control.load_shedding import SEGMENTATION_RATE, Load
from multismolvla.control.policy_view import PolicyView
from multismolvla.embodiment.description import Embodiment, EmbodimentError
from multismolvla.modalities.camera_image import frame_in_units
from multismolvla.nodes.lag_probe import LagProbe
from multismolvla.nodes.stamp_ns import stamp_ns
from multismolvla.nodes.status_monitor import StatusMonitor
from multismolvla.nodes.stream_synchronizer import StreamSynchronizer
from multismolvla.sensing.synchronizer import SynchronizedSet
from multismolvla.stack.settings import PolicySettings
from multismolvla.streams import Stream, StreamTable

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# A pause that this misses is no longer than a control period and a half.
PROBE_S = 0.03
# A problem that was gone for longer is told again.
QUIET_S = 5.0


class PolicyInputs:
    """Subscribes; written by the executor's thread, read by the control and inference threads.

    Args:
        arm: whose states come in.
        view: gets what comes in.
        privileged: take in the true poses of objects, which only a script needs.
    """

    def __init__(
        self,
        node: Node,
        arm: Embodiment,
        table: StreamTable,
        view: PolicyView,
        settings: PolicySettings,
        privileged: bool = False,
    ) -> None:
        self._node = node
        self._arm = arm
        self._table = table
        self._probe = LagProbe(node, PROBE_S)
        # The longest period of a camera that is to be thinned out to half.
        self._window_s = 2.0 * max(stream.period_s for stream in table)
        self._joint_problem, self._joint_problem_s = "", 0.0
        self._view = view
        self.statuses = StatusMonitor(node, table.names)
        self._synchronizer = StreamSynchronizer(
            node,
            {
                name: Subscriber(node, Image, f"{name}/image", qos_profile=qos_profile_sensor_data)
                for name in table.names
            },
            slop_s=settings.slop_s,
            max_wait_s=settings.max_wait_s,
            statuses=self.statuses,
        )
        self._synchronizer.registerCallback(self._on_set)
        node.create_subscription(JointState, "joint_states", self._on_joint_states, NEWEST)
        if privileged:
            node.create_subscription(MarkerArray, "ground_truth/objects", self._on_objects, NEWEST)

    @property
    def lag_s(self) -> float:
        """How late messages are taken in, seconds."""
        return self._probe.lag.worst_s(time.monotonic_ns())

    def relax(self, load: Load) -> None:
        """Take fewer sets while the machine cannot keep up, and wait longer for them."""
        fewer = SEGMENTATION_RATE in load.shed
        self._synchronizer.relax(load.lag_s, self._window_s if fewer else 0.0)

    def states_of_streams(self) -> dict[str, tuple[str, str]]:
        """Stream -> (state, reasons), as its node reports it."""
        return {
            name: (status.state.name, ",".join(status.reasons))
            for name, status in self.statuses.statuses.items()
        }

    def _frame(self, stream: Stream, message: Image) -> np.ndarray | None:
        try:
            return frame_in_units(stream.modality, message)
        except ValueError:  # The sensor node has checked it and says what is wrong with a stream.
            return None

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds

    def _on_set(self, newest: SynchronizedSet) -> None:
        frames = {
            stream.name: None if message is None else self._frame(stream, message)
            for stream, message in zip(self._table, newest.messages.values(), strict=True)
        }
        self._view.on_set(self._now_ns(), newest.stamp_ns, frames, newest.masked)

    def _on_joint_states(self, message: JointState) -> None:
        problem = ""
        try:
            state = self._arm.state_of(message.name, message.position)
            self._view.states.add(stamp_ns(message.header.stamp), state)
        except EmbodimentError as error:
            problem = f"joint_states: {error}"
        if problem:
            # Good and bad messages in turn, from two publishers, are one event.
            now_s = time.monotonic()
            if problem != self._joint_problem or now_s > self._joint_problem_s + QUIET_S:
                self._node.get_logger().error(f"{problem}; the message is ignored")
            self._joint_problem, self._joint_problem_s = problem, now_s

    def _on_objects(self, message: MarkerArray) -> None:
        objects = {}
        for marker in message.markers:
            p, q = marker.pose.position, marker.pose.orientation
            objects[marker.ns] = np.array([p.x, p.y, p.z, q.w, q.x, q.y, q.z])
        self._view.on_objects(self._now_ns(), objects)
