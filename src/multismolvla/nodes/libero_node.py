"""LIBERO as a robot: the Panda's cameras and states, and the steps that it is commanded by.

It is `sim_node` in the world `libero`: the same topics and services, and no servo bus. A thread of
its own has the world: it loads scenes, takes a step every 50 ms and renders. The executor takes
commands in and answers services.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from multismolvla.control.load_shedding import CAMERA_RATE, OVERLOADED_S, Load
from multismolvla.control.trajectory import TrajectoryError
from multismolvla.nodes import load_message
from multismolvla.nodes.episode_parameters import EpisodeParameters
from multismolvla.nodes.parameters import declare, declare_streams_file, reject_unknown
from multismolvla.nodes.run import run
from multismolvla.nodes.sim_messages import CameraTopics, result
from multismolvla.nodes.trajectory_message import read_trajectory
from multismolvla.nodes.world_thread import WorldThread
from multismolvla.sensing.lag import LagMeter
from multismolvla.sim.libero.scene import LiberoScene
from multismolvla.sim.libero.tasks import DEFAULT_TASK
from multismolvla.sim.offscreen import RenderingError
from multismolvla.stack.stepped_robot import SteppedRobot, SteppedWorld
from multismolvla.streams import StreamTable, load_stream_table

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SEED = "Place of the scene: one of the 50 official ones, or from 50 on one of our own."
RESULT_PERIOD_S = 1.0
# Between two reports of a lag.
LAG_REPORT_S = 0.25
# Simulated time begins here: zero means that there is no clock yet.
START_NS = 1_000_000_000


class LiberoNode(Node):
    """Publishes cameras, states and the result; does the steps of `joint_trajectory`.

    Args:
        make_world: of the stream table; a test has another one.
    """

    def __init__(
        self, make_world: Callable[[StreamTable], SteppedWorld] = LiberoScene, **options
    ) -> None:
        super().__init__("sim_node", **options)
        self._wanted = EpisodeParameters(self, SEED)
        streams_file = declare_streams_file(self, "libero/streams.yaml")
        fixed = partial(declare, self, read_only=True)
        factor = fixed(
            "real_time_factor", 1.0, "Simulated seconds per second.", minimum=0.01, maximum=100.0
        )
        reject_unknown(self)
        table = load_stream_table(streams_file)
        self._world = make_world(table)
        self._wanted.watch(table, self._world.find, DEFAULT_TASK)
        self._robot = robot = SteppedRobot(self._world, self._wanted.task, self._wanted.seed)
        self._arm = self._world.embodiment
        self._episode, self._begun_s = 0, time.monotonic()
        self._publishes_clock = self.get_parameter("use_sim_time").value
        self._clock_ns = START_NS
        self._lag, self._next_report_s = LagMeter(), 0.0
        self._half_rate = self._blind = False
        self._reported: object = None
        self._refused = ""

        self._topics = CameraTopics(self, table, self._world)
        self._states = self.create_publisher(JointState, "joint_states", 1)
        self._result = self.create_publisher(DiagnosticStatus, "~/result", LATCHED)
        self._clock_topic = self.create_publisher(Clock, "/clock", qos_profile_sensor_data)
        self.create_subscription(JointTrajectory, "joint_trajectory", self._on_trajectory, 1)
        self.create_service(Trigger, "~/reset", self._on_reset)
        load_message.listen(self, self._on_load)
        self.create_timer(RESULT_PERIOD_S, self._publish_result)
        self._thread = WorldThread(self, self, robot.period_s / factor)
        self._thread.start()
        self.get_logger().info(f"task '{robot.task.instruction}', seed {robot.seed}")

    def close(self) -> None:
        """End the world's thread, which releases the world."""
        self._thread.close()

    # The executor's thread.

    def _on_trajectory(self, message: JointTrajectory) -> None:
        try:
            now_ns = self._now_ns()
            self._robot.follow(read_trajectory(message, now_ns, self._arm.action_names))
            self._refused = ""
        except TrajectoryError as error:
            problem = f"joint_trajectory refused: {error}"
            self._robot.refuse(problem)
            if problem != self._refused:
                self.get_logger().warning(f"{problem}; the arm holds still")
            self._refused = problem

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Begin an episode of the task and seed that the parameters name now."""
        try:
            response.message = self._thread.call(self._begin)
            response.success = True
        except ValueError as error:
            response.message = str(error)
        return response

    def _on_load(self, load: Load) -> None:
        self._half_rate = CAMERA_RATE in load.shed

    def _publish_result(self) -> None:
        robot, (state, reason) = self._robot, self._robot.arm
        elapsed_s = time.monotonic() - self._begun_s
        values = {
            "task": robot.task.id,
            "instruction": robot.task.instruction,
            "episode": self._episode,
            "success": int(robot.solved),
            "time_s": f"{robot.time_s:.3f}",
            "real_time_factor": f"{robot.time_s / elapsed_s if elapsed_s > 0.1 else 0.0:.4f}",
            "lag_ms": f"{self._lag.worst_s(time.monotonic_ns()) * 1e3:.0f}",
            "arm": state.name,
            "arm_reason": reason,
        }
        self._result.publish(result(robot.solved, values))

    # The world's thread.

    def _begin(self) -> str:
        """Begin the episode that is wanted; return its instruction."""
        task = self._wanted.task
        self._robot.begin(task, self._wanted.seed)
        self._episode, self._begun_s = self._episode + 1, time.monotonic()
        self._publish_result()
        return task.instruction

    def on_show(self) -> None:
        """Publish the time, if configured, and what states and cameras tell now."""
        now_ns, robot = self._now_ns(), self._robot
        stamp = Time(sec=now_ns // 10**9, nanosec=now_ns % 10**9)
        if self._publishes_clock:
            self._clock_topic.publish(Clock(clock=stamp))
        states = JointState(name=list(self._arm.state_names))
        states.header.stamp, states.position = stamp, self._world.state().tolist()
        self._states.publish(states)
        if self._blind or (self._half_rate and robot.steps % 2):
            return
        try:
            frames = self._world.look(self._wanted.alive, now_ns * 1e-9)
        except RenderingError as error:
            # Another start would fail as well. The arm works, and its cameras count as dead.
            self._blind = True
            self.get_logger().fatal(f"no camera gives frames: {error}")
            return
        self._topics.publish(frames, stamp)

    def _now_ns(self) -> int:
        if self._publishes_clock:
            return self._clock_ns
        return self.get_clock().now().nanoseconds

    def on_lag(self, lag_s: float) -> None:
        """Keep how late the world runs. Simulated time waits for it, and nothing is late then."""
        if self._publishes_clock:
            return
        self._lag.note(time.monotonic_ns(), round(lag_s * 1e9))
        if lag_s > OVERLOADED_S and time.monotonic() > self._next_report_s:
            self._next_report_s = time.monotonic() + LAG_REPORT_S
            self._publish_result()

    def on_step(self) -> None:
        """Do the step that is due, and report a change of the arm or the goal."""
        robot = self._robot
        robot.step(self._now_ns())
        self._clock_ns += round(robot.period_s * 1e9)
        now = robot.solved, robot.arm[0]
        if now != self._reported:
            self._reported = now
            self._publish_result()

    def on_end(self) -> None:
        """Release the renderer."""
        self._world.close()


def main() -> int:
    return run(LiberoNode)
