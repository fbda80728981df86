"""What RViz shows beyond the cameras: planned and executed path, health, depth as points.

Nothing is subscribed to that nobody looks at, so that the node can always be there.
"""

from __future__ import annotations

import time
from pathlib import Path as FilePath

from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Path
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from multismolvla.monitoring import health_panel
from multismolvla.monitoring.gripper_path import ExecutedPath, PlannedPath
from multismolvla.monitoring.newest_status import NewestStatus
from multismolvla.nodes import monitor_messages
from multismolvla.nodes.depth_cloud import DepthCloud
from multismolvla.nodes.on_demand import OnDemand, subscribed_to
from multismolvla.nodes.parameters import (
    ParameterError,
    declare,
    declare_arm,
    declare_streams_file,
    reject_unknown,
)
from multismolvla.nodes.run import run
from multismolvla.nodes.status_message import reported
from multismolvla.nodes.status_monitor import StatusMonitor
from multismolvla.nodes.watched_messages import joint_angles, planned, stream_states
from multismolvla.streams import load_stream_table

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# How long a new display waits for its first picture, at most.
DEMAND_PERIOD_S = 0.5
DRAW_PERIOD_S = 0.2
# Joint states come 100 times a second; the executed path does without most of them.
SAMPLE_PERIOD_S = 0.04


class MonitorNode(Node):
    """docs/monitoring.md has its topics; docs/nodes/monitor_node.md its parameters."""

    def __init__(self, **options) -> None:
        super().__init__("monitor_node", **options)
        share = get_package_share_directory("multismolvla")
        streams_file = declare_streams_file(self)
        urdf = declare(
            self,
            "urdf",
            f"{share}/urdf/so101.urdf",
            "URDF to serve as robot_description; empty leaves that to robot_state_publisher.",
            read_only=True,
        )
        self._arm = declare_arm(self)
        stride = declare(
            self,
            "cloud_stride",
            2,
            "Only every n-th row and column of a depth image becomes points.",
            minimum=1,
            maximum=64,
            read_only=True,
        )
        path_s = declare(
            self,
            "path_s",
            10.0,
            "Length of the executed path, seconds.",
            minimum=0.1,
            maximum=600.0,
            read_only=True,
        )
        reject_unknown(self)
        table = load_stream_table(streams_file)

        self._streams = table.names
        self._plan = PlannedPath(self._arm.kinematics)
        self._way = ExecutedPath(self._arm.kinematics, path_s)
        self._next_sample_s = 0.0
        self._newest_status = NewestStatus()

        self._planned_path = self.create_publisher(Marker, "monitor/planned_path", 1)
        self._executed_path = self.create_publisher(Path, "monitor/executed_path", 1)
        self._health = self.create_publisher(MarkerArray, "monitor/health", 1)
        if urdf:
            self._serve(urdf)
        self._scene = OnDemand(
            self,
            subscribed_to(self._planned_path, self._executed_path, self._health),
            [
                (JointTrajectory, "policy/chunk", self._on_chunk, 1),
                (DiagnosticArray, "policy/status", self._on_policy, 1),
                (DiagnosticArray, "so101_driver/status", self._on_driver, 1),
                (JointState, "joint_states", self._on_joint_states, NEWEST),
            ],
            on_start=self._start_drawing,
            on_end=self._end_drawing,
        )
        self._clouds = [
            DepthCloud(self, stream.name, stride) for stream in table if stream.kind == "depth"
        ]
        # Seen even when simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DEMAND_PERIOD_S, self._check_demand, clock=steady)
        self._drawing = self.create_timer(DRAW_PERIOD_S, self._draw, clock=steady, autostart=False)

    def _serve(self, path: str) -> None:
        try:
            description = FilePath(path).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ParameterError(
                f"{self.get_fully_qualified_name()}: parameter 'urdf': cannot read {path}: {error}"
            ) from None
        self._description = self.create_publisher(String, "robot_description", LATCHED)
        self._description.publish(String(data=description))

    def _check_demand(self) -> None:
        for part in (self._scene, *self._clouds):
            part.check()

    def _start_drawing(self) -> None:
        self._statuses = StatusMonitor(self, self._streams)
        self._drawing.reset()

    def _end_drawing(self) -> None:
        self._drawing.cancel()
        self._statuses.close()
        self._plan.clear()
        self._way.clear()

    def _on_chunk(self, message: JointTrajectory) -> None:
        self._plan.plan(*planned(message, self._arm))

    def _on_joint_states(self, message: JointState) -> None:
        if time.monotonic() < self._next_sample_s:
            return
        self._next_sample_s = time.monotonic() + SAMPLE_PERIOD_S
        joints = joint_angles(message, self._arm)
        self._way.add(self._now_ns(), joints)

    def _on_policy(self, message: DiagnosticArray) -> None:
        self._newest_status.take("policy", time.monotonic(), reported(message))

    def _on_driver(self, message: DiagnosticArray) -> None:
        self._newest_status.take("driver", time.monotonic(), reported(message))

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _draw(self) -> None:
        now_ns, now_s = self._now_ns(), time.monotonic()
        policy, driver = (
            self._newest_status.newest("policy", now_s),
            self._newest_status.newest("driver", now_s),
        )
        if policy is None or policy.get("mode") != "running":
            self._planned_path.publish(monitor_messages.no_planned_path())
        else:
            self._planned_path.publish(monitor_messages.planned_path(*self._plan.ahead(now_ns)))
        self._executed_path.publish(monitor_messages.executed_path(self._way.poses(now_ns), now_ns))
        streams = health_panel.as_used(stream_states(self._statuses.statuses), policy)
        verdict = health_panel.verdict(policy, driver, streams)
        lines = [health_panel.stream_line(name, state) for name, state in streams.items()]
        self._health.publish(monitor_messages.health_panel(verdict, lines))


def main() -> int:
    return run(MonitorNode)
