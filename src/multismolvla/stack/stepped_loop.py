"""One episode in a world that waits for the policy: LIBERO, as the field runs it.

Cameras look, the policy decides, the world takes one step of 50 ms; then again. Faults, health,
labels, synchroniser, queue and safety stage are those of the running robot, on its clock: within
each step frames arrive, are labelled and matched while the world stands still. With `latency_s` of
the episode above 0 chunks arrive that much later and the world goes on meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import mujoco
import numpy as np

from multismolvla.control.delta_safety import DeltaCommand, DeltaFilter
from multismolvla.faults.delivery_queue import DeliveryQueue
from multismolvla.faults.fault import JOINT_STATES, Delivery
from multismolvla.interfaces import Policy
from multismolvla.pose_check.check import PoseCheck
from multismolvla.pose_check.weights import StreamWeights
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.libero.cameras import libero_cameras
from multismolvla.sim.libero.world import STEP_S, LiberoWorld
from multismolvla.stack.delayed_inference import DelayedInference
from multismolvla.stack.episode import Ended, Episode, Moment, Observer, Spectator
from multismolvla.stack.labeller import Segmenter
from multismolvla.stack.perception import Perception
from multismolvla.stack.policy_runner import PolicyRunner, Statuses
from multismolvla.stack.settings import PolicySettings, StackSettings
from multismolvla.stack.stepped_robot import delta_limits
from multismolvla.streams import StreamTable

STEP_NS = round(STEP_S * 1e9)
# Instants within a step at which something may be due: frames arrive after 5 ms, labels 25 ms
# later. At the last one the policy decides.
WITHIN_NS = (0, 5_000_000, 10_000_000, 30_000_000, 40_000_000)
# Steps for which the cameras look at the scene before the instruction; the world does not move.
WARM_UP_STEPS = 16
# The clock starts at one second: zero means that there is no clock yet.
START_NS = 1_000_000_000
INSTRUCTION_NS = START_NS + WARM_UP_STEPS * STEP_NS


class SteppedLoop:
    """Runs episodes of LIBERO, one after the other.

    Args:
        table: the streams that the robot has; without any, nothing is rendered.
        settings: of the robot.
        segmenter: labels the views from their other streams; without one the labels are the
            simulator's, from a camera of their own.
        pose_check: weights of the check of frames against states, by stream; none for no check.
        official: render as LIBERO does, at several times the cost.
    """

    def __init__(
        self,
        table: StreamTable,
        settings: StackSettings,
        segmenter: Segmenter | None = None,
        pose_check: Mapping[str, StreamWeights] | None = None,
        official: bool = False,
    ) -> None:
        self.table, self.settings, self.segmenter = table, settings, segmenter
        self.world_name = "libero"
        # The simulator's labels are frames of a camera of their own.
        derived = {} if segmenter is None else table.derived
        self.pose_check = PoseCheck(pose_check, derived) if pose_check else None
        self.world = LiberoWorld()
        self.embodiment = self.world.embodiment
        self.instruction_ns = INSTRUCTION_NS
        self._official = official
        self._cameras: Cameras | None = None
        self._model: mujoco.MjModel | None = None
        self.seen: mujoco.MjData | None = None

    def run(
        self,
        policy: Policy,
        episode: Episode,
        settings: PolicySettings | None = None,
        observers: Sequence[Observer] = (),
        spectator: Spectator | None = None,
    ) -> Ended:
        """Run one episode; the same arguments give the same end, if the policy does its part.

        The episode's seed is the number of an official place, or one of our own from
        `INIT_STATES` on; see `LiberoWorld.begin`.

        Raises:
            ValueError: the task or a setting is unknown.
        """
        settings = settings or self.settings.policy
        return _Run(self, policy, episode, settings, observers, spectator).run()

    def cameras(self) -> Cameras:
        """Cameras of the scene that is loaded."""
        if self._model is not self.world.model:
            self.close()
            self._model = self.world.model
            self._cameras = libero_cameras(self.world, self.table, official=self._official)
            self.seen = mujoco.MjData(self._model)
        return self._cameras

    def close(self) -> None:
        """Release the renderer."""
        if self._cameras is not None:
            self._cameras.close()
        self._cameras = self._model = None


class _Run:
    def __init__(
        self,
        loop: SteppedLoop,
        policy: Policy,
        episode: Episode,
        settings: PolicySettings,
        observers: Sequence[Observer],
        spectator: Spectator | None,
    ) -> None:
        self._loop, self._episode = loop, episode
        self._observers, self._spectator = observers, spectator
        self._world, table = loop.world, loop.table
        self._world.begin(episode.task, episode.seed)
        if len(table):
            loop.cameras().reseed(episode.seed)
        self._timeout_s = settings.joint_states_timeout_s
        self._joint_states = DeliveryQueue(episode.faults)
        check = None if episode.oracle else loop.pose_check
        if check is not None:
            check.forget()
        least = min(settings.min_visual_streams, len(table))
        settings = replace(
            settings,
            min_visual_streams=least,
            # Every step of a world that waits may be worth an inference.
            observation_tolerance_rad=0.0,
        )
        space = loop.embodiment.action
        self._policy = PolicyRunner(policy, space.names, table, settings, check, space=space)
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
        self._safety = DeltaFilter(delta_limits(space))

    def run(self) -> Ended:
        world = self._world
        for step in range(WARM_UP_STEPS):
            self._look(START_NS + step * STEP_NS, -1.0)
            self._tick(START_NS + step * STEP_NS, -1.0)
        self._policy.give_task(world.task.instruction)
        # Taken up now, so that the frames of the first step are the first of the task.
        self._policy.tick(INSTRUCTION_NS - 1, self._statuses(INSTRUCTION_NS - 1))
        success = False
        while not success and world.steps < world.task.horizon:
            now_ns = INSTRUCTION_NS + world.steps * STEP_NS
            since_s = world.steps * STEP_S
            self._look(now_ns, since_s)
            world.step(self._tick(now_ns, since_s))
            success = world.success()
        return Ended(success, world.steps * STEP_S, self._policy)

    def _look(self, now_ns: int, since_s: float) -> None:
        """What states and cameras tell at the beginning of a step."""
        loop, world, spectator = self._loop, self._world, self._spectator
        self._joint_states.send(JOINT_STATES, Delivery(world.state(), now_ns, now_ns))
        for _, delivery in self._joint_states.due(now_ns):
            self._view.states.add(delivery.stamp_ns, delivery.frame)
        if self._perception is None:
            # So that a policy without frames infers too.
            self._view.on_set(now_ns, now_ns, {}, {})
            return
        world.snapshot(loop.seen)
        watched = () if spectator is None or since_s < 0.0 else spectator.streams
        names = dict.fromkeys((*self._perception.needed(now_ns), *watched))
        frames = loop.cameras().render(loop.seen, list(names), now_ns * 1e-9)
        self._perception.expose(frames, now_ns)
        if watched:
            shown = {name: frames[name] for name in watched}
            spectator.on_frames(since_s, shown, self._policy.mask.available)

    def _tick(self, start_ns: int, since_s: float) -> np.ndarray:
        """Let the step's time pass for the stack, and return the action (7,) for the world."""
        for within_ns in WITHIN_NS:
            if self._perception is not None:
                self._perception.advance(start_ns + within_ns)
        now_ns = start_ns + WITHIN_NS[-1]
        statuses = self._statuses(now_ns)
        self._inference.take_answer(now_ns)
        tick = self._policy.tick(now_ns, statuses)
        if tick.request is not None:
            self._inference.start(tick.request, now_ns, statuses)
            if self._inference.take_answer(now_ns):
                # Without latency the new chunk has the action of this very step.
                tick = replace(tick, targets=self._policy.tick(now_ns, statuses).targets)
        command = None if tick.targets is None else DeltaCommand(now_ns, tick.targets[0])
        action = self._safety.step(now_ns, command).action
        if since_s >= 0.0:
            self._report(now_ns, since_s, tick.holds)
        return action

    def _statuses(self, now_ns: int) -> Statuses:
        return {} if self._perception is None else self._perception.statuses(now_ns)

    def _report(self, now_ns: int, since_s: float, holds: bool) -> None:
        age_s = self._view.states.age_s(now_ns)
        statuses = self._statuses(now_ns)
        moment = Moment(
            since_s,
            self._policy.mask.available,
            {name: state for name, (state, _) in statuses.items()},
            set() if self._perception is None else self._perception.damaged(now_ns),
            age_s is not None and abs(age_s) <= self._timeout_s,
            holds,
        )
        for observer in self._observers:
            observer.on_moment(moment)
