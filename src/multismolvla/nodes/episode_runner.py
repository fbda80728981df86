"""Runs episodes on a stack that is up: resets the scene, gives the task, cuts cameras, watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import Trigger

from multismolvla.embodiment.description import Embodiment
from multismolvla.embodiment.so101 import SO101
from multismolvla.nodes.stack_watch import LATCHED, StackWatch
from multismolvla.pictures.episode_log import EpisodeLog, Sample
from multismolvla.streams import StreamTable

SAMPLE_PERIOD_S = 0.05
# A simulator may have to load another scene.
RESET_TIMEOUT_S = 120.0
# An episode takes no more seconds than this for each simulated one.
LEAST_FACTOR = 30.0


class StackError(RuntimeError):
    """The stack does not do what an episode needs; the message names the part and the wait."""


class EpisodeRunner(Node):
    """Sees the stack only through its topics, services and parameters, as any user would.

    Args:
        table: the streams to watch.
        film_rate_hz: frames kept per second; 0 keeps none and subscribes to no image.
        on_sample: called with the episode and its newest sample, for a live display.
        check: called while waiting; raises when waiting is pointless.
        arm: that the stack drives.
        simulated: all times but those of waiting are the simulator's, see `StackWatch`.

    Attributes:
        watch: what the topics report.
    """

    def __init__(
        self,
        table: StreamTable,
        film_rate_hz: float = 0.0,
        on_sample: Callable[[EpisodeLog, Sample], None] = lambda episode, sample: None,
        check: Callable[[], None] = lambda: None,
        arm: Embodiment = SO101,
        simulated: bool = False,
    ) -> None:
        super().__init__("episode_runner")
        self._table = table
        self._film_period_s = 1.0 / film_rate_hz if film_rate_hz else None
        self._on_sample = on_sample
        self._check = check
        self.watch = StackWatch(self, table, bool(film_rate_hz), arm, simulated)
        self._task = self.create_publisher(String, "task", LATCHED)
        self._reset = self.create_client(Trigger, "sim_node/reset")
        self._parameter_client = self.create_client(SetParameters, "sim_node/set_parameters")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    @property
    def policy(self) -> Mapping[str, str]:
        """Newest values of the policy's status, by key."""
        return self.watch.policy

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began, or of the simulator's clock."""
        return self.watch.elapsed_s

    @property
    def real_time_factor(self) -> float:
        """Simulated seconds per second, as the simulator last reported it."""
        return float(self.watch.result.get("real_time_factor", "nan"))

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Serve the graph until `condition` holds.

        Raises:
            StackError: it did not within `timeout_s`, or a node reports that it is misconfigured.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._check()
            if self.watch.misconfigured:
                raise StackError(self.watch.misconfigured)
            if time.monotonic() > deadline:
                raise StackError(f"waited {timeout_s:.0f} s for {what} without success")
            self._executor.spin_once(timeout_sec=0.02)

    def _call(self, client, request, what: str, timeout_s: float = 10.0):
        self.wait_until(client.service_is_ready, what, 30.0)
        future = client.call_async(request)
        self.wait_until(future.done, what, timeout_s)
        return future.result()

    def _set_simulator(self, **values) -> None:
        parameters = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        request = SetParameters.Request(parameters=parameters)
        for result in self._call(
            self._parameter_client, request, "the simulator's parameters"
        ).results:
            if not result.successful:
                raise StackError(f"the simulator refused a parameter: {result.reason}")

    def idle(self) -> None:
        """Give no task, so that the arm holds, and wait until the policy reports it."""
        self._task.publish(String(data=""))
        self.wait_until(lambda: self.policy.get("mode") == "idle", "an idle policy", 30.0)
        # An arm that still follows the last command would leave the pose of the reset.
        self.wait_until(lambda: self.watch.follows is False, "the arm to hold", 30.0)

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until joints are measured, every stream is in use and the simulator answers."""
        self.wait_until(self._reset.service_is_ready, "the simulator", timeout_s)
        self.wait_until(lambda: self.watch.state is not None, "joint_states", timeout_s)
        self.wait_until(lambda: bool(self.policy), "policy/status", timeout_s)
        self.wait_until(
            lambda: all(map(self.watch.in_use, self._table.names)),
            "every stream to be healthy",
            timeout_s,
        )

    def begin_episode(self, task: str, seed: int, dead: Sequence[str] = ()) -> EpisodeLog:
        """Reset the scene and give the task; return the log of an episode that has just begun."""
        self.idle()
        self._set_simulator(task=task, seed=seed, dead_cameras=list(dead) or [""])
        if not dead:
            self.wait_ready()
        reset = self._call(self._reset, Trigger.Request(), "a reset of the scene", RESET_TIMEOUT_S)
        if not reset.success:
            raise StackError(f"the simulator refused a reset: {reset.message}")
        self.wait_until(lambda: self.watch.result.get("success") == "0", "a fresh scene", 10.0)
        self.watch.target = None
        self.watch.images.clear()
        self._task.publish(String(data=reset.message))
        return EpisodeLog(task=task, instruction=reset.message, seed=seed, start_s=self.elapsed_s)

    def run_episode(
        self,
        task: str,
        seed: int,
        timeout_s: float,
        cut: Sequence[str] = (),
        cut_after_s: float = 0.0,
        dead: Sequence[str] = (),
    ) -> EpisodeLog:
        """Perform one episode and return what was seen.

        Args:
            task: id or instruction.
            timeout_s: time from the instruction after which the episode has failed.
            cut: streams whose cameras die `cut_after_s` seconds after the instruction.
            dead: streams whose cameras are dead from the start.
        """
        episode = self.begin_episode(task, seed, dead)
        start_s = episode.start_s
        next_sample_s = start_s
        next_frame_s = start_s + (self._film_period_s or 0.0)
        give_up = time.monotonic() + LEAST_FACTOR * timeout_s
        while self.elapsed_s - start_s < timeout_s:
            self._check()
            self._executor.spin_once(timeout_sec=0.01)
            if time.monotonic() > give_up:
                raise StackError(f"{LEAST_FACTOR * timeout_s:.0f} s did not end the episode")
            now_s = self.elapsed_s
            if cut and episode.fault is None and now_s - start_s >= cut_after_s:
                self._set_simulator(dead_cameras=list(cut))
                episode.fault = (self.elapsed_s, tuple(cut))
            if now_s >= next_sample_s:
                next_sample_s = now_s + SAMPLE_PERIOD_S
                episode.samples.append(self.watch.sample())
                self._on_sample(episode, episode.samples[-1])
            if self._film_period_s and now_s >= next_frame_s:
                next_frame_s += self._film_period_s
                episode.frames.append((now_s, self.watch.frames()))
            if self.watch.result.get("success") == "1":
                episode.success_time_s = now_s - start_s
                break
        episode.end_s = self.elapsed_s
        return episode

    def close(self) -> None:
        """Leave the arm holding and the graph without this node."""
        if rclpy.ok():
            self._task.publish(String(data=""))
        self._executor.remove_node(self)
        self.destroy_node()
