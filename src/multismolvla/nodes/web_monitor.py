"""The stack in a browser: cameras with their masks, health, the arm, and buttons.

With nobody watching it listens to statuses only, so that the timeline has a past to show.
"""

from __future__ import annotations

import time
from functools import partial

from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from multismolvla.faults.fault import JOINT_STATES
from multismolvla.faults.registry import FAULTS
from multismolvla.monitoring.gripper_path import PlannedPath
from multismolvla.monitoring.health_panel import Light
from multismolvla.monitoring.page_html import plot_html, timeline_html, verdict_html
from multismolvla.monitoring.page_state import PageState
from multismolvla.monitoring.urdf import load_urdf
from multismolvla.nodes.camera_pictures import CameraPictures
from multismolvla.nodes.on_demand import OnDemand
from multismolvla.nodes.page_actions import PageActions
from multismolvla.nodes.parameters import declare, declare_arm, declare_streams_file, reject_unknown
from multismolvla.nodes.run import run
from multismolvla.nodes.status_message import reported
from multismolvla.nodes.status_monitor import StatusMonitor
from multismolvla.nodes.watched_messages import joint_angles, planned, stream_states
from multismolvla.pictures.sensor_panel import board
from multismolvla.streams import load_stream_table
from multismolvla.web.page import TOP, UNPLUGGED, Breakable, Page
from multismolvla.web.server import is_loopback

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
DRAW_PERIOD_S = 0.1
# With nobody watching, only the timeline goes on.
IDLE_PERIOD_S = 0.25
# Timeline, plots and faults change by less than one sees in the time between two of these.
SLOW_PERIOD_S = 0.5
# How long what came of a press stays on the page.
ANSWER_S = 8.0
NO_INJECTOR = (
    "No fault injector runs, so nothing can be broken from here: start the stack with faults:=live."
)


class WebMonitor(Node):
    """docs/monitoring.md has its picture; docs/nodes/web_monitor.md topics and parameters."""

    def __init__(self, **options) -> None:
        super().__init__("web_monitor", **options)
        share = get_package_share_directory("multismolvla")
        fixed = partial(declare, self, read_only=True)
        streams_file = declare_streams_file(self)
        urdf = fixed("urdf", f"{share}/urdf/so101.urdf", "URDF of the arm that is shown.")
        self._arm = declare_arm(self)
        host = fixed(
            "host",
            "127.0.0.1",
            "Address to serve the page on; anyone who can open it can drive the arm.",
        )
        port = fixed(
            "port", 8080, "Port to serve the page on; 0 takes a free one.", minimum=0, maximum=65535
        )
        reject_unknown(self)
        self._table = load_stream_table(streams_file)
        self._views = {stream.view or TOP: stream.view for stream in self._table}
        self._state = PageState(self._table.names)
        self._plan = PlannedPath(self._arm.kinematics)
        self._joints: dict[str, float] = {}
        self._next_slow_s = 0.0
        self._shown_states: list[str] = []
        self._answer_until_s = 0.0

        breakable = (*self._table.names, JOINT_STATES)
        pressed = PageActions(self, breakable, self._answer)
        self._injector = pressed.injector
        self.page = Page(
            host,
            port,
            title=f"MultiSmolVLA {self.get_namespace().strip('/')}".strip(),
            robot=load_urdf(urdf),
            views=list(self._views),
            streams=breakable,
            faults=[UNPLUGGED, *sorted(set(FAULTS) - {UNPLUGGED})],
            actions=pressed.actions(),
        )
        self._listen()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._drawing = self.create_timer(DRAW_PERIOD_S, self._tick, clock=steady)
        self.get_logger().info(f"the page is at {self.page.url}")
        if not is_loopback(host):
            self.get_logger().warning(
                f"whoever reaches {host}:{port} can drive the arm: there is no password"
            )

    def _listen(self) -> None:
        self._statuses = StatusMonitor(self, self._table.names)
        always = [
            (DiagnosticArray, "policy/status", self._on_policy, 1),
            (DiagnosticArray, "so101_driver/status", self._on_driver, 1),
        ]
        scene = [
            (JointTrajectory, "policy/chunk", self._on_chunk, 1),
            (JointState, "joint_states", self._on_joint_states, NEWEST),
        ]
        watched = [OnDemand(self, lambda: self.page.watched, scene, on_end=self._plan.clear)]
        self._cameras = {
            view: CameraPictures(
                self,
                [stream for stream in self._table if stream.view == prefix],
                lambda view=view: self.page.watched and self.page.view == view,
            )
            for view, prefix in self._views.items()
        }
        self._demands = [OnDemand(self, lambda: True, always), *watched, *self._cameras.values()]

    def _on_policy(self, message: DiagnosticArray) -> None:
        self._state.on_policy(time.monotonic(), reported(message))

    def _on_driver(self, message: DiagnosticArray) -> None:
        self._state.on_driver(time.monotonic(), reported(message))

    def _on_chunk(self, message: JointTrajectory) -> None:
        self._plan.plan(*planned(message, self._arm))

    def _on_joint_states(self, message: JointState) -> None:
        joints = joint_angles(message, self._arm)
        self._joints = dict(zip(self._arm.joint_names, joints.tolist(), strict=True))

    def _answer(self, text: str, good: bool) -> None:
        self._answer_until_s = time.monotonic() + ANSWER_S
        self.page.answer(text, Light.GOOD if good else Light.BAD)
        self._next_slow_s = 0.0

    def _tick(self) -> None:
        now_s = time.monotonic()
        self._state.on_streams(now_s, stream_states(self._statuses.statuses))
        for demand in self._demands:
            demand.check()
        watched = self.page.watched
        self._drawing.timer_period_ns = round((DRAW_PERIOD_S if watched else IDLE_PERIOD_S) * 1e9)
        if watched:
            self._draw(now_s)

    def _draw(self, now_s: float) -> None:
        streams = self._state.streams(now_s)
        view = self.page.view
        masked = {name: stream.reason for name, stream in streams.items() if stream.masked}
        frames = self._cameras[view].frames()
        self.page.show_cameras(board(self._table, self._views[view], frames, masked))
        self.page.arm.turn(self._joints)
        running = (self._state.policy(now_s) or {}).get("mode") == "running"
        now_ns = self.get_clock().now().nanoseconds
        points, opacity = self._plan.ahead(now_ns)
        self.page.arm.plan(points if running else points[:0], opacity)
        # Picture and timeline never contradict each other.
        states = [stream.state for stream in streams.values()]
        if now_s >= self._next_slow_s or states != self._shown_states:
            self._shown_states = states
            self._next_slow_s = now_s + SLOW_PERIOD_S
            self._draw_slow(now_s, streams)

    def _draw_slow(self, now_s: float, streams: dict) -> None:
        state = self._state
        self.page.show_health(
            verdict_html(state.verdict(now_s)), timeline_html(streams, state.timeline(now_s))
        )
        self.page.show_plots(
            plot_html("queue", "Action queue", "s", state.queue_s.points(now_s))
            + plot_html(
                "latency", "Inference latency", "ms", state.latency_ms.points(now_s), dots=True
            )
        )
        policy = state.policy(now_s) or {}
        self.page.show_task(policy.get("mode", "no policy"), policy.get("task", ""))
        self._injector.refresh()
        faults = self._injector.faults
        breakable = {
            name: Breakable(fault, self._injector.listened_to(name))
            for name, fault in faults.items()
        }
        self.page.show_injector(
            breakable, *(("", Light.GOOD) if faults else (NO_INJECTOR, Light.WARNING))
        )
        if now_s >= self._answer_until_s:
            self.page.answer("", Light.GOOD)

    def close(self) -> None:
        """End the page."""
        self.page.close()


def main() -> int:
    return run(WebMonitor)
