"""The policy node: from images, joint states and an instruction to what the arm does now.

Three threads. The executor's takes messages in. The control thread ticks on absolute deadlines,
decides everything and publishes. The inference thread makes one call of the policy at a time; it
has nothing to do until a fourth, short-lived one has warmed the policy up.
"""

from __future__ import annotations

import sys
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from multismolvla.control.action_queue import ENTRIES, ActionQueue, merge_strategy
from multismolvla.control.inference import (
    Inference,
    InferenceSchedule,
    ObservationFilter,
    RefillThreshold,
)
from multismolvla.control.load_shedding import REPLANNING_RATE, Load
from multismolvla.control.policy_loop import Mode, Playback, PolicyLoop, describe
from multismolvla.control.policy_view import StreamGate, StreamMask
from multismolvla.nodes import load_message
from multismolvla.nodes.diagnostics import SLOW_LOOP, Diagnostics, Task, checked
from multismolvla.nodes.inference_thread import InferenceThread
from multismolvla.nodes.load_watch import LoadWatch
from multismolvla.nodes.parameters import (
    declare_settings,
    declare_streams_file,
    reject_unknown,
)
from multismolvla.nodes.periodic_thread import PeriodicThread
from multismolvla.nodes.policy_inputs import PolicyInputs
from multismolvla.nodes.policy_messages import policy_status, trajectory
from multismolvla.nodes.policy_warm_up import PolicyWarmUp
from multismolvla.nodes.run import run
from multismolvla.pose_check.check import PoseCheck, find_weights
from multismolvla.priority import prepare_control_thread
from multismolvla.sensing.stream_checks import frequency_check
from multismolvla.stack.policy_loading import load_policy, parse_cameras
from multismolvla.stack.settings import PolicySettings
from multismolvla.streams import load_stream_table

# A latched task reaches a node that starts later; one from a publisher that latches nothing comes
# to the second subscription only.
TASK_QOS = (QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL), QoSProfile(depth=1))
STATUS_PERIOD_S = 0.2
# Until then after the warm-up, which stops this process for a moment, lags are those of the start.
START_S = 1.5
# Share of the queue threshold that is left of it where the policy is asked less often.
RELAXED_THRESHOLD = 0.5


class PolicyNode(Node):
    """Runs a policy; docs/nodes/policy_node.md has its topics, parameters and states."""

    def __init__(self, **options) -> None:
        super().__init__("policy_node", **options)
        self._settings = parameters = declare_settings(self, PolicySettings())
        streams_file = declare_streams_file(self)
        reject_unknown(self)
        table = load_stream_table(streams_file)
        self._queue = ActionQueue(
            merge_strategy(parameters.merge, parameters.crossfade_s),
            ENTRIES[parameters.chunk_entry],
        )
        self._threshold = RefillThreshold(parameters.queue_threshold)
        schedule = InferenceSchedule(
            self._threshold, ObservationFilter(parameters.observation_tolerance_rad)
        )
        self._step_ns = round(1e9 / parameters.control_rate_hz)
        self._playback = Playback(self._queue, parameters.look_ahead_points, self._step_ns)
        self._contradicting: list[str] = []
        self._task = ""
        self._wanted_task = parameters.task.strip()
        self._mode = Mode("idle", "")
        self._next_status = 0.0
        self._prepared = not parameters.realtime
        self._watch_from_s = time.monotonic() + START_S

        self._trajectory = self.create_publisher(JointTrajectory, "joint_trajectory", 1)
        self._chunk = self.create_publisher(JointTrajectory, "policy/chunk", 1)
        self._status = self.create_publisher(DiagnosticArray, "policy/status", 1)
        self._diagnostics = Diagnostics(self, "policy")
        policy = load_policy(
            parameters.policy,
            device=parameters.policy_device,
            threads=parameters.policy_threads,
            seed=None if parameters.policy_seed < 0 else parameters.policy_seed,
            noise_scale=parameters.policy_noise,
            cameras=parse_cameras(parameters.policy_cameras),
            chunking=parameters.policy_chunking,
            now_ns=self._now_ns,
            precision=parameters.policy_precision,
        )
        weights = find_weights(parameters.pose_check)
        self._pose_check_says = "images fit the joints" if weights else "off"
        self._inputs = PolicyInputs(
            self,
            table,
            slop_s=parameters.slop_s,
            max_wait_s=parameters.max_wait_s,
            max_set_age_s=parameters.max_set_age_s,
            check=PoseCheck(weights, table.derived) if weights else None,
            # A policy of somebody else may read them.
            privileged=getattr(policy, "reads_privileged", True),
        )
        self._loop = PolicyLoop(
            StreamGate(table, parameters.min_visual_streams),
            self._inputs.view,
            self._queue,
            schedule,
            self._playback,
            parameters.joint_states_timeout_s,
        )
        for qos in TASK_QOS:
            self.create_subscription(String, "task", self._on_task, qos)
        self._load_watch = LoadWatch(self, self._inputs.statuses, self._lag_s)

        self._warm_up = PolicyWarmUp(policy, self._on_warm, self._on_warm_up_problem)
        self._inference = Inference(policy, schedule, self._queue)
        self._inference_thread = InferenceThread(
            self._inference,
            self._inputs,
            self._queue,
            self._now_ns,
            self._publish_chunk,
            self._on_policy_problem,
        )
        self._control = PeriodicThread(
            1.0 / parameters.control_rate_hz, self._tick, self._on_control_error
        )
        self._inference_thread.start()
        self._control.start()
        self._warm_up.start()

    def close(self) -> None:
        """End the threads. The driver holds the arm once the setpoints stop."""
        self._control.stop()
        self._warm_up.close()
        self._inference_thread.close()

    def destroy_node(self) -> None:
        self.close()
        super().destroy_node()

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _lag_s(self) -> float:
        """How late this node runs: what it takes in, or what it sends."""
        return max(self._inputs.lag_s, self._control.lag.worst_s(time.monotonic_ns()))

    def _on_task(self, message: String) -> None:
        self._wanted_task = message.data.strip()

    # The control thread.

    def _tick(self) -> None:
        if not self._prepared:
            self._prepared = True
            if refused := prepare_control_thread():
                self.get_logger().info(refused)
        now_ns = self._now_ns()
        if self._playback.clock_jumped_back(now_ns):
            self.get_logger().warning("the clock was set back: restarting the task")
            self._inputs.view.clear()
            self._start_anew(now_ns)
        if self._wanted_task != self._task:
            self._task = self._wanted_task
            self.get_logger().info(f"task: {self._task or 'none, idle'}")
            self._start_anew(now_ns)

        not_ready = "" if self._warm_up.done else "warming up"
        tick = self._loop.tick(now_ns, self._task, self._inputs.mask(now_ns), not_ready)
        if tick.targets is not None:
            offsets = [i * self._step_ns for i in range(len(tick.targets))]
            self._trajectory.publish(trajectory(now_ns, offsets, tick.targets))
        if tick.infer:
            self._inference_thread.request(self._task)
        self._tell_contradictions()
        changed = self._set_mode(tick.hold_reason) or tick.mask_changed
        if changed or time.monotonic() >= self._next_status:
            self._publish_status(now_ns)

    def _start_anew(self, now_ns: int) -> None:
        self._loop.start_anew(now_ns)
        self._inference.start_anew()

    def _set_mode(self, hold_reason: str) -> bool:
        """Take on the mode, log a change of it as one line; True if anything changed."""
        mode = describe(
            task=self._task,
            holding=self._playback.holding,
            hold_reason=hold_reason,
            policy_problem=self._inference_thread.problem,
            had_chunk=self._playback.had_chunk,
            latency_s=self._threshold.latency_s,
        )
        previous, self._mode = self._mode, mode
        if mode.name != previous.name:
            line = f"{mode.name}: {mode.reason}" if mode.reason else mode.name
            # Two calls: rclpy allows one severity per place in the source.
            if mode.name == "hold":
                self.get_logger().warning(line)
            else:
                self.get_logger().info(line)
        return mode != previous

    def _tell_contradictions(self) -> None:
        previous, self._contradicting = self._contradicting, list(self._inputs.view.refused)
        if set(self._contradicting) - set(previous):
            self.get_logger().warning(_contradiction(self._contradicting, self._loop.mask))
        elif previous and not self._contradicting:
            self.get_logger().info("no image contradicts the pose any more")

    def _publish_status(self, now_ns: int) -> None:
        self._next_status = time.monotonic() + STATUS_PERIOD_S
        load = self._watch_load()
        level = self._queue.level(now_ns)
        values = {
            "mode": self._mode.name,
            "reason": self._mode.reason,
            "queue_length": level.actions,
            "queue_s": f"{level.seconds:.3f}",
            "threshold": f"{self._threshold.fraction(level.chunk_size, level.period_s):.3f}",
            "latency_ms": f"{self._inference.latency_s * 1e3:.1f}",
            "inferences": self._inference.inferences,
            "starved_ticks": self._playback.starved_ticks,
            "control_rate_hz": f"{self._control.rate_hz:.2f}",
            "task": self._task,
            **load_message.load_values(load),
            **self._warm_up.values,
        }
        name = self.get_fully_qualified_name()
        message = policy_status(now_ns, name, values, self._loop.mask)
        self._status.publish(message)
        if not self._diagnostics.wanted:
            return
        status, rate_hz = message.status[0], self._settings.control_rate_hz
        contradiction = _contradiction(self._contradicting, self._loop.mask)
        self._diagnostics.publish(
            Task(
                "pose check",
                DiagnosticStatus.WARN if contradiction else DiagnosticStatus.OK,
                contradiction or self._pose_check_says,
                {"weights": self._settings.pose_check},
            ),
            Task("policy", status.level, status.message, values),
            load_message.to_task(load),
            checked(
                "control frequency", frequency_check(self._control.rate_hz, rate_hz, SLOW_LOOP)
            ),
        )

    def _watch_load(self) -> Load:
        """Look how late the nodes run, and do less or more."""
        if not self._warm_up.done:
            self._watch_from_s = time.monotonic() + START_S
        if time.monotonic() < self._watch_from_s:
            return self._load_watch.load  # What a start costs is no overload.
        load = self._load_watch.tick()
        self._inputs.relax(load)
        self._threshold.scale = RELAXED_THRESHOLD if REPLANNING_RATE in load.shed else 1.0
        return load

    def _on_control_error(self, error: Exception) -> None:
        if not self.context.ok():
            return
        self.get_logger().fatal(
            f"the control loop failed ({type(error).__name__}: {error}); the node ends and "
            "is restarted, the driver holds the arm"
        )
        rclpy.try_shutdown(context=self.context)

    # The warm-up thread.

    def _on_warm(self, figures: str) -> None:
        if self.context.ok():
            self.get_logger().info(f"policy '{self._settings.policy}': {figures}")

    def _on_warm_up_problem(self, problem: str) -> None:
        if self.context.ok():
            name = self._settings.policy
            self.get_logger().error(f"the dry run of policy '{name}' failed: {problem}")

    # The inference thread.

    def _on_policy_problem(self, problem: str) -> None:
        name = self._settings.policy
        if not self.context.ok():
            return  # The process is being ended: a failure to publish is no failure of the policy.
        if problem:
            self.get_logger().error(f"policy '{name}' failed: {problem}; retrying until it works")
        else:
            self.get_logger().info(f"policy '{name}' works again")

    def _publish_chunk(self) -> None:
        queued = self._queue.queued()
        if queued is not None:
            offsets = (queued.times_ns - queued.times_ns[0]).tolist()
            self._chunk.publish(trajectory(int(queued.times_ns[0]), offsets, queued.targets))


def _contradiction(streams: list[str], mask: StreamMask) -> str:
    """What is wrong, for a person; "" for nothing."""
    if not streams:
        return ""
    if not any(mask.available.values()) and len(streams) > 1:
        return "every image contradicts the pose: check the joint states"
    return f"masked because the images contradict the pose: {', '.join(streams)}"


def main() -> None:
    sys.exit(run(PolicyNode))
