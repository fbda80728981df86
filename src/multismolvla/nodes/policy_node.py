"""The policy node: from images, joint states and an instruction to what the arm does now.

Three threads share a `PolicyRunner`. The executor's takes messages in. The control thread ticks on
absolute deadlines, decides everything and publishes. The policy's thread makes its dry run, then
one call at a time.
"""

from __future__ import annotations

import sys
import time
from functools import partial

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from multismolvla.control.load_shedding import Load
from multismolvla.embodiment.embodiment_file import load_embodiment
from multismolvla.nodes.load_watch import LoadWatch
from multismolvla.nodes.parameters import (
    declare_settings,
    declare_streams_file,
    reject_unknown,
)
from multismolvla.nodes.policy_inputs import PolicyInputs
from multismolvla.nodes.policy_report import STATUS_PERIOD_S, PolicyReport
from multismolvla.nodes.run import log_event, run
from multismolvla.nodes.trajectory_message import trajectory_message
from multismolvla.pose_check.check import PoseCheck, find_weights
from multismolvla.priority import prepare_control_thread
from multismolvla.stack.periodic_thread import PeriodicThread
from multismolvla.stack.policy_loading import TEACHER, lerobot_options, load_policy
from multismolvla.stack.policy_runner import PolicyRunner
from multismolvla.stack.policy_thread import PolicyThread
from multismolvla.stack.settings import PolicySettings
from multismolvla.streams import load_stream_table

# A latched task reaches a node that starts later; one from a publisher that latches nothing comes
# to the second subscription only.
TASK_QOS = (QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL), QoSProfile(depth=1))
# Until then after the warm-up, which stops this process for a moment, lags are those of the start.
START_S = 1.5


class PolicyNode(Node):
    """Runs a policy; docs/nodes/policy_node.md has its topics, parameters and states."""

    def __init__(self, **options) -> None:
        super().__init__("policy_node", **options)
        settings = declare_settings(self, PolicySettings())
        streams_file = declare_streams_file(self)
        reject_unknown(self)
        self._arm = arm = load_embodiment(settings.embodiment)
        _check_is_outside(settings.policy)
        table = load_stream_table(streams_file)
        self._next_status = 0.0
        self._prepared = not settings.realtime
        self._watch_from_s = time.monotonic() + START_S

        self._trajectory = self.create_publisher(JointTrajectory, "joint_trajectory", 1)
        self._chunk = self.create_publisher(JointTrajectory, "policy/chunk", 1)
        policy = load_policy(
            settings.policy,
            arm,
            device=settings.policy_device,
            threads=settings.policy_threads,
            seed=None if settings.policy_seed < 0 else settings.policy_seed,
            noise_scale=settings.policy_noise,
            **lerobot_options(settings),
            chunking=settings.policy_chunking,
            now_ns=self._now_ns,
            precision=settings.policy_precision,
        )
        weights = find_weights(settings.pose_check)
        check = PoseCheck(weights, table.derived) if weights else None
        log = partial(log_event, self)
        self._runner = PolicyRunner(
            policy, arm.action_names, table, settings, check, log, space=arm.action
        )
        # As the arm's driver calls what it is commanded.
        self._names = arm.topic_names(arm.action_names)
        self._runner.give_task(settings.task)
        self._report = PolicyReport(self, self._runner, settings)
        # A policy of somebody else may read the privileged poses.
        privileged = getattr(policy, "reads_privileged", True)
        self._inputs = PolicyInputs(self, arm, table, self._runner.view, settings, privileged)
        for qos in TASK_QOS:
            self.create_subscription(String, "task", self._on_task, qos)
        self._load_watch = LoadWatch(self, self._inputs.statuses, self._lag_s)

        self._policy = PolicyThread(
            self._runner,
            policy,
            self._now_ns,
            self._inputs.states_of_streams,
            self._publish_chunk,
            log,
            settings.policy,
        )
        # An arm that is commanded by steps has a period of its own.
        period_s = self._runner.step_ns * 1e-9
        self._control = PeriodicThread(period_s, self._tick, self._on_control_error)
        self._control.start()
        self._policy.start()

    def close(self) -> None:
        """End the threads. The driver holds the arm once the setpoints stop."""
        self._control.stop()
        self._policy.close()

    def destroy_node(self) -> None:
        self.close()
        super().destroy_node()

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _lag_s(self) -> float:
        """How late this node runs: what it takes in, or what it sends."""
        return max(self._inputs.lag_s, self._control.lag.worst_s(time.monotonic_ns()))

    def _on_task(self, message: String) -> None:
        self._runner.give_task(message.data)

    # The control thread.

    def _tick(self) -> None:
        if not self._prepared:
            self._prepared = True
            if refused := prepare_control_thread():
                self.get_logger().info(refused)
        now_ns = self._now_ns()
        not_ready = "" if self._policy.ready else "warming up"
        inputs = self._inputs
        tick = self._runner.tick(now_ns, inputs.states_of_streams(), inputs.lag_s, not_ready)
        if tick.targets is not None:
            self._trajectory.publish(trajectory_message(self._names, tick.times_ns, tick.targets))
        if tick.request is not None:
            self._policy.submit(tick.request)
        if tick.changed or time.monotonic() >= self._next_status:
            self._next_status = time.monotonic() + STATUS_PERIOD_S
            load = self._watch_load()
            self._report.publish(now_ns, self._control.rate_hz, load, self._policy.values)

    def _watch_load(self) -> Load:
        """Look how late the nodes run, and do less or more."""
        if not self._policy.ready:
            self._watch_from_s = time.monotonic() + START_S
        if time.monotonic() < self._watch_from_s:
            return self._load_watch.load  # What a start costs is no overload.
        load = self._load_watch.tick()
        self._inputs.relax(load)
        self._runner.relax(load)
        return load

    def _on_control_error(self, error: Exception) -> None:
        if not self.context.ok():
            return
        self.get_logger().fatal(
            f"the control loop failed ({type(error).__name__}: {error}); the node ends and "
            "is restarted, the driver holds the arm"
        )
        rclpy.try_shutdown(context=self.context)

    # The policy's thread.

    def _publish_chunk(self) -> None:
        queued = self._runner.queued()
        # A process that is being ended publishes nothing more.
        if queued is not None and self.context.ok():
            self._chunk.publish(trajectory_message(self._names, queued.times_ns, queued.targets))


def _check_is_outside(policy: str) -> None:
    """Refuse LIBERO's teacher, which acts on a simulator in its own process."""
    if policy == TEACHER:
        raise ValueError(
            f"policy is '{TEACHER}', which reads the simulator in its own process and not over "
            f"ROS; run 'multismolvla evaluate --world libero --policies {TEACHER}'"
        )


def main() -> None:
    sys.exit(run(PolicyNode))
