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
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from multismolvla.control.load_shedding import CAMERA_RATE, OVERLOADED_S, Load
from multismolvla.nodes import load_message
from multismolvla.nodes.parameters import declare, declare_streams_file, reject_unknown
from multismolvla.nodes.run import run
from multismolvla.nodes.sim_messages import CameraTopics, object_colours, object_markers, result
from multismolvla.nodes.sim_threads import SimulationThreads
from multismolvla.robot.emulator import EmulatedBus
from multismolvla.sensing.lag import LagMeter
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import DEFAULT_TASK_ID, Task, find_task
from multismolvla.streams import load_stream_table

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

RESULT_PERIOD_S = 1.0
# Between two reports of a lag.
LAG_REPORT_S = 0.25


class SimNode(Node):
    """Publishes raw cameras, privileged object poses and the result; offers the serial port."""

    def __init__(self, **options) -> None:
        super().__init__("sim_node", **options)
        declare(self, "task", "", "Task id or instruction; empty is the default task.")
        seed = declare(self, "seed", 0, "Seed of the scene.", minimum=0, maximum=2**31 - 1)
        fixed = partial(declare, self, read_only=True)
        port = fixed("port", "", "Path of a link to the serial port; empty makes none.")
        streams_file = declare_streams_file(self)
        declare(self, "dead_cameras", [""], "Streams whose camera gives no frames.")
        factor = fixed(
            "real_time_factor", 1.0, "Simulated seconds per second.", minimum=0.01, maximum=100.0
        )
        reject_unknown(self)

        self._table = load_stream_table(streams_file)
        self._dead = self._checked_dead_cameras(self.get_parameter("dead_cameras").value)
        self._simulation = Simulation(seed=seed)
        self._simulation.reset(self._task_of(self.get_parameter("task").value), seed)
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
        self.add_on_set_parameters_callback(self._on_parameters)

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
            f"task '{self._simulation.task.instruction}', seed {seed}, arm on {self._bus.port}"
        )

    def close(self) -> None:
        """Stop physics and cameras and take the serial port away."""
        self._threads.close()
        self._bus.close()

    def _task_of(self, name: str) -> Task:
        return find_task(name.strip() or DEFAULT_TASK_ID)

    def _checked_dead_cameras(self, names: list[str]) -> frozenset[str]:
        dead = frozenset(name for name in names if name)
        for name in dead:
            _ = self._table[name]
        return dead

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        dead = self._dead
        try:
            for parameter in parameters:
                if parameter.name == "dead_cameras":
                    dead = self._checked_dead_cameras(parameter.value)
                elif parameter.name == "task":
                    self._task_of(parameter.value)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._dead = dead
        return SetParametersResult(successful=True)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Start an episode of the task and seed that the parameters name now."""
        task = self._task_of(self.get_parameter("task").value)
        with self._simulation.lock:
            self._clock_offset_s += self._simulation.time_s
            self._simulation.reset(task, self.get_parameter("seed").value)
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
        names = [stream.name for stream in self._table if stream.name not in self._dead]
        self._topics.publish(self._cameras.render(data, names, time_s), stamp)
        if self._objects.get_subscription_count():
            self._objects.publish(object_markers(poses, self._colours, stamp))
        if changed:
            self._publish_result()


def main() -> int:
    return run(SimNode)
