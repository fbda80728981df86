"""One episode of the whole stack in simulated time, without ROS and without threads.

Simulator, cameras, faults, stream health, synchroniser, policy loop, queue and safety filter are
the ones that run live, at the rates at which they run live; only the messages between them are
missing, and time passes as fast as the machine allows. An inference takes no simulated time to
compute; its answer arrives `latency_s` later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import mujoco

from multismolvla.control.safety import Command, Setpoint
from multismolvla.faults.delivery_queue import DeliveryQueue
from multismolvla.faults.fault import JOINT_STATES, Delivery
from multismolvla.interfaces import Policy
from multismolvla.pose_check.check import PoseCheck
from multismolvla.pose_check.weights import StreamWeights
from multismolvla.robot.so101 import ArmState
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import DEFAULT_MAX_STEPS, STEP_S, find_task
from multismolvla.stack.arm import SimulatedArm, safety_filter
from multismolvla.stack.arm_runner import ArmRunner
from multismolvla.stack.delayed_inference import DelayedInference
from multismolvla.stack.episode import Ended, Episode, Moment, Observer, Spectator
from multismolvla.stack.labeller import Segmenter
from multismolvla.stack.perception import Perception
from multismolvla.stack.policy_runner import PolicyRunner
from multismolvla.stack.settings import PolicySettings, StackSettings
from multismolvla.streams import StreamTable

# All rates divide this one: the loop counts in its ticks.
TICKS_HZ = 300
CAMERA_HZ = 15
# Cameras run for this long before the instruction: five good frames bring a stream into use, and
# labels begin only with those of their sources.
WARM_UP_S = 0.8
# The clock starts at one second: zero means that there is no clock yet.
INSTRUCTION_NS = round((1.0 + WARM_UP_S) * 1e9)


class ClosedLoop:
    """Runs episodes, one after the other, in one simulator.

    Args:
        table: the streams that the robot has; without any, nothing is rendered and the arm moves
            blind, for policies that do not look.
        settings: of the robot.
        segmenter: labels the views from their other streams, as live; without one the labels are
            the simulator's, from a camera of their own.
        pose_check: weights of the check of frames against joints, by stream; none for no check.

    Raises:
        ValueError: a rate does not divide that of the loop; one line.
    """

    def __init__(
        self,
        table: StreamTable,
        settings: StackSettings | None = None,
        segmenter: Segmenter | None = None,
        pose_check: Mapping[str, StreamWeights] | None = None,
    ) -> None:
        self.table, self.world_name = table, "tabletop"
        self.embodiment = Simulation.embodiment
        self.instruction_ns = INSTRUCTION_NS
        self.settings = settings or StackSettings()
        self.segmenter = segmenter
        # The simulator's labels are frames of a camera of their own.
        derived = {} if segmenter is None else table.derived
        self.pose_check = PoseCheck(pose_check, derived) if pose_check else None
        self.simulation = Simulation()
        self.cameras = None
        camera_hz = max((stream.rate_hz for stream in table), default=CAMERA_HZ)
        self.camera_ticks = _ticks("the cameras", round(camera_hz))
        self.control_ticks = _ticks("control_rate_hz", self.settings.policy.control_rate_hz)
        self.driver_ticks = _ticks("rate_hz of the driver", self.settings.driver.rate_hz)
        if len(table):
            # Rendering pulls in OpenGL, which a robot without cameras does not need.
            from multismolvla.sim.cameras import Cameras

            self.cameras = Cameras(self.simulation.model, table)
            self.seen = mujoco.MjData(self.simulation.model)

    def run(
        self,
        policy: Policy,
        episode: Episode,
        settings: PolicySettings | None = None,
        observers: Sequence[Observer] = (),
        spectator: Spectator | None = None,
    ) -> Ended:
        """Run one episode; the same arguments give the same end, if the policy does its part.

        Args:
            settings: of the policy in this episode; those of the robot where None.

        Raises:
            ValueError: the task or a setting is unknown.
        """
        settings = settings or self.settings.policy
        return _Run(self, policy, episode, settings, observers, spectator).run()

    def close(self) -> None:
        """Release the renderer."""
        if self.cameras is not None:
            self.cameras.close()


def _ticks(what: str, rate_hz: float) -> int:
    if TICKS_HZ % rate_hz:
        raise ValueError(f"{what} at {rate_hz:g} Hz; expected a divisor of {TICKS_HZ}")
    return round(TICKS_HZ / rate_hz)


class _Run:
    def __init__(
        self,
        loop: ClosedLoop,
        policy: Policy,
        episode: Episode,
        settings: PolicySettings,
        observers: Sequence[Observer],
        spectator: Spectator | None,
    ) -> None:
        self._loop, self._episode = loop, episode
        self._observers, self._spectator = observers, spectator
        self._simulation, table = loop.simulation, loop.table
        self._task = find_task(episode.task)
        self._simulation.reset(self._task, episode.seed)
        if loop.cameras is not None:
            loop.cameras.reseed(episode.seed)
        self._now_ns = 0
        self._timeout_s = settings.joint_states_timeout_s
        self._joint_states = DeliveryQueue(episode.faults)

        check = None if episode.oracle else loop.pose_check
        if check is not None:
            check.forget()
        least = min(settings.min_visual_streams, len(table))
        settings = replace(settings, min_visual_streams=least)
        self._policy = PolicyRunner(
            policy, self._simulation.embodiment.joint_names, table, settings, check
        )
        self._view = self._policy.view
        self._inference = DelayedInference(self._policy, episode.latency_s, episode.dropped_share)
        self._perception = None
        if len(table):
            self._perception = Perception(
                table,
                self._view,
                episode.faults,
                loop.settings,
                oracle=episode.oracle,
                segmenter=loop.segmenter,
            )
        self._arm = ArmRunner(
            lambda: SimulatedArm(self._simulation.servos),
            # An episode begins with an arm that has been commanded before: no slow start.
            safety_filter(replace(loop.settings.driver, ramp_s=0.0), self._simulation.embodiment),
            lambda: self._now_ns,
            self._on_state,
            lambda severity, text: None,
            self._on_setpoint,
        )

    def run(self) -> Ended:
        loop = self._loop
        limit_s = DEFAULT_MAX_STEPS[self._task.suite] * STEP_S
        tick, simulated, late = 0, 0, False
        solved_s: float | None = None
        while True:
            self._now_ns = now_ns = 1_000_000_000 + round(tick * 1e9 / TICKS_HZ)
            self._simulation.advance((tick - simulated) / TICKS_HZ)
            simulated = tick
            since_s = (now_ns - INSTRUCTION_NS) * 1e-9
            controls = tick % loop.control_ticks == 0
            if since_s >= 0.0:
                self._policy.give_task(self._task.instruction)
                if controls and solved_s is None and not late and self._simulation.success():
                    solved_s = min(since_s, limit_s)
                late = late or (controls and since_s >= limit_s)
                if (late or solved_s is not None) and controls and since_s >= self._episode.lasts_s:
                    break
            if tick % loop.driver_ticks == 0:
                self._arm.tick()
            if tick % loop.camera_ticks == 0:
                self._look(now_ns, since_s)
            if self._perception is not None:
                self._perception.advance(now_ns)
            self._inference.take_answer(now_ns)
            if controls:
                self._control(now_ns, since_s)
            tick = min(
                tick - tick % period + period
                for period in (loop.driver_ticks, loop.control_ticks, loop.camera_ticks)
            )
        return Ended(solved_s is not None, limit_s if solved_s is None else solved_s, self._policy)

    def _on_state(self, state: ArmState) -> None:
        """A reading of the arm, as the driver publishes it."""
        sent = Delivery(state.positions_rad, self._now_ns, self._now_ns)
        self._joint_states.send(JOINT_STATES, sent)
        for _, delivery in self._joint_states.due(self._now_ns):
            self._view.states.add(delivery.stamp_ns, delivery.frame)
        for observer in self._observers:
            observer.on_state(state)

    def _on_setpoint(self, command: Command | None, setpoint: Setpoint) -> None:
        for observer in self._observers:
            observer.on_setpoint(command, setpoint)

    def _look(self, now_ns: int, since_s: float) -> None:
        """One period of the cameras."""
        loop, spectator = self._loop, self._spectator
        self._view.on_objects(now_ns, self._simulation.object_poses())
        if self._perception is None:
            # So that a policy without frames infers too.
            self._view.on_set(now_ns, now_ns, {}, {})
            return
        self._simulation.snapshot(loop.seen)
        watched = () if spectator is None or since_s < 0.0 else spectator.streams
        names = dict.fromkeys((*self._perception.needed(now_ns), *watched))
        frames = loop.cameras.render(loop.seen, list(names), self._simulation.time_s)
        self._perception.expose(frames, now_ns)
        if watched:
            shown = {name: frames[name] for name in watched}
            spectator.on_frames(since_s, shown, self._policy.mask.available)

    def _control(self, now_ns: int, since_s: float) -> None:
        """One period of the policy."""
        statuses = {} if self._perception is None else self._perception.statuses(now_ns)
        tick = self._policy.tick(now_ns, statuses)
        if tick.request is not None:
            self._inference.start(tick.request, now_ns, statuses)
        if tick.targets is not None:
            self._arm.follow(self._policy.trajectory(now_ns, tick.targets))
        if not self._policy.task:
            return
        age_s = self._view.states.age_s(now_ns)
        moment = Moment(
            since_s,
            self._policy.mask.available,
            {name: state for name, (state, _) in statuses.items()},
            set() if self._perception is None else self._perception.damaged(now_ns),
            age_s is not None and abs(age_s) <= self._timeout_s,
            tick.holds,
        )
        for observer in self._observers:
            observer.on_moment(moment)
