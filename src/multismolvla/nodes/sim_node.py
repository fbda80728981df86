"""The simulated robot: an SO-101 behind a pseudo-terminal, its cameras, and the task to be done.

Three threads share the simulation: physics keeps to the clock, the cameras render snapshots of it,
and the executor answers services. The arm is reached only through its servo bus.
"""

from __future__ import annotations

import time
from functools import partial

import mujoco
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from multismolvla.control.load_shedding import CAMERA_RATE, OVERLOADED_S, Load
from multismolvla.nodes import load_message
from multismolvla.nodes.episode_parameters import EpisodeParameters
from multismolvla.nodes.parameters import declare, declare_streams_file, reject_unknown
from multismolvla.nodes.run import run
from multismolvla.nodes.sim_messages import CameraTopics, object_colours, object_markers, result
from multismolvla.nodes.sim_threads import SimulationThreads
from multismolvla.robot.emulator import EmulatedBus
from multismolvla.sensing.lag import LagMeter
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import DEFAULT_TASK_ID, find_task
from multismolvla.streams import load_stream_table

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

RESULT_PERIOD_S = 1.0
# Between two reports of a lag.
LAG_REPORT_S = 0.25


class SimNode(Node):
    """Publishes raw cameras, privileged object poses and the result; offers the serial port."""

    def __init__(self, **options) -> None:
        super().__init__("sim_node", **options)
        self._wanted = episode = EpisodeParameters(self)
        fixed = partial(declare, self, read_only=True)
        port = fixed("port", "", "Path of a link to the serial port; empty makes none.")
        streams_file = declare_streams_file(self)
        factor = fixed(
            "real_time_factor", 1.0, "Simulated seconds per second.", minimum=0.01, maximum=100.0
        )
        reject_unknown(self)

        self._table = load_stream_table(streams_file)
        episode.watch(self._table, find_task, DEFAULT_TASK_ID)
        self._simulation = Simulation(seed=episode.seed)
        self._simulation.reset(episode.task, episode.seed)
        self._cameras = Cameras(self._simulation.model, self._table)
        self._colours = object_colours(self._simulation.model)
        # Simulated time never runs backwards, although every reset starts an episode at zero.
        self._clock_offset_s = 0.0
        self._episode = 0
        self._solved = False
        self._episode_start_s = time.monotonic()
        self._lag = LagMeter()
        self._next_report_s = 0.0

        self._topics = CameraTopics(self, self._table, self._cameras)
        self._objects = self.create_publisher(MarkerArray, "ground_truth/objects", 1)
        self._result = self.create_publisher(DiagnosticStatus, "~/result", LATCHED)
        self._publishes_clock = self.get_parameter("use_sim_time").value
        self._clock_publisher = self.create_publisher(Clock, "/clock", qos_profile_sensor_data)
        self.create_service(Trigger, "~/reset", self._on_reset)

        self._bus = EmulatedBus(self._simulation.servos, link=port or None, torque_on=True)
        # All cameras of the table are triggered together, at the rate of the fastest.
        period_s = min(stream.period_s for stream in self._table)
        self._threads = SimulationThreads(
            self, self, self._simulation, self._cameras, period_s, factor
        )
        load_message.listen(self, self._on_load)
        self._threads.start()
        self._publish_result()
        self.create_timer(RESULT_PERIOD_S, self._publish_result)
        self.get_logger().info(
            f"task '{self._simulation.task.instruction}', seed {episode.seed}, "
            f"arm on {self._bus.port}"
        )

    def close(self) -> None:
        """Stop physics and cameras and take the serial port away."""
        self._threads.close()
        self._bus.close()

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Start an episode of the task and seed that the parameters name now."""
        task = self._wanted.task
        with self._simulation.lock:
            self._clock_offset_s += self._simulation.time_s
            self._simulation.reset(task, self._wanted.seed)
            self._episode += 1
            self._episode_start_s = time.monotonic()
            self._solved = False
        self._publish_result()
        response.success, response.message = True, task.instruction
        return response

    def _measured_factor(self) -> float:
        """Simulated seconds per second since the episode began."""
        elapsed_s = time.monotonic() - self._episode_start_s
        return self._simulation.time_s / elapsed_s if elapsed_s > 0.1 else float("nan")

    def _publish_result(self) -> None:
        simulation = self._simulation
        values = {
            "task": simulation.task.id,
            "instruction": simulation.task.instruction,
            "episode": self._episode,
            "success": int(self._solved),
            "time_s": f"{simulation.time_s:.3f}",
            "real_time_factor": f"{self._measured_factor():.4f}",
            "lag_ms": f"{self._lag.worst_s(time.monotonic_ns()) * 1e3:.0f}",
        }
        self._result.publish(result(self._solved, values))

    def _on_load(self, load: Load) -> None:
        self._threads.half_rate = CAMERA_RATE in load.shed

    def on_slice(self) -> None:
        """Publish the time, if configured."""
        if self._publishes_clock:
            self._clock_publisher.publish(Clock(clock=self._stamp()))

    def on_lag(self, lag_s: float) -> None:
        """Keep how late physics or cameras run, and report at once what is worth it."""
        self._lag.note(time.monotonic_ns(), round(lag_s * 1e9))
        if lag_s > OVERLOADED_S and time.monotonic() > self._next_report_s:
            self._next_report_s = time.monotonic() + LAG_REPORT_S
            self._publish_result()

    def _stamp(self) -> Time:
        if not self._publishes_clock:
            return self.get_clock().now().to_msg()
        time_ns = round((self._clock_offset_s + self._simulation.time_s) * 1e9)
        return Time(sec=time_ns // 10**9, nanosec=time_ns % 10**9)

    def on_shot(self, data: mujoco.MjData) -> None:
        """Publish what the cameras see now."""
        with self._simulation.lock:
            self._simulation.snapshot(data)
            stamp = self._stamp()
            time_s = self._clock_offset_s + self._simulation.time_s
            poses = self._simulation.object_poses()
            # Judged and kept under one lock: a reset in between must not inherit the verdict.
            was_solved, self._solved = self._solved, self._simulation.success()
            changed = was_solved != self._solved
        self._topics.publish(self._cameras.render(data, self._wanted.alive, time_s), stamp)
        if self._objects.get_subscription_count():
            self._objects.publish(object_markers(poses, self._colours, stamp))
        if changed:
            self._publish_result()


def main() -> int:
    return run(SimNode)
