"""One episode of the whole stack in simulated time, without ROS and without threads.

Simulator, cameras, faults, stream health, synchroniser, policy loop, queue and safety filter are
the ones that run live, at the rates at which they run live; only the messages between them are
missing, and time passes as fast as the machine allows. An inference takes no simulated time to
compute; its answer arrives `latency_s` later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import mujoco
import numpy as np

from multismolvla.control.policy_view import PolicyView, StreamGate
from multismolvla.faults.conditions import Condition, middle_s
from multismolvla.faults.delivery_queue import DeliveryQueue, FaultSchedule
from multismolvla.faults.fault import JOINT_STATES, Delivery
from multismolvla.faults.scenario import Scenario
from multismolvla.interfaces import Policy
from multismolvla.pose_check.check import PoseCheck
from multismolvla.pose_check.weights import StreamWeights
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import DEFAULT_MAX_STEPS, STEP_S, find_task
from multismolvla.stack.arm_runner import RATE_HZ as DRIVER_HZ
from multismolvla.stack.arm_runner import RobotInSimulation
from multismolvla.stack.fault_record import FaultRecord, MaskRecord
from multismolvla.stack.labeller import Segmenter
from multismolvla.stack.outcome import EpisodeKey, Outcome
from multismolvla.stack.perception import Perception
from multismolvla.stack.policy_runner import (
    CONTROL_HZ,
    JOINT_STATES_TIMEOUT_S,
    PolicyInSimulation,
)
from multismolvla.stack.settings import StackSettings
from multismolvla.streams import StreamTable

SETTINGS = StackSettings()
# All rates divide this one: the loop counts in its ticks.
TICKS_HZ = 300
CAMERA_HZ = 15
# Cameras run for this long before the instruction: five good frames bring a stream into use, and
# labels begin only with those of their sources.
WARM_UP_S = 0.8
# The clock starts at one second: zero means that there is no clock yet.
INSTRUCTION_NS = round((1.0 + WARM_UP_S) * 1e9)
MASKS = ("detector", "oracle")


class Spectator(Protocol):
    """Is shown what cameras see, at their rate, before any damage.

    Attributes:
        streams: the streams to be shown; they are rendered even where nothing else looks at them.
    """

    streams: tuple[str, ...]

    def on_frames(
        self, since_s: float, frames: Mapping[str, np.ndarray], mask: Mapping[str, bool]
    ) -> None:
        """Take in the frames, in SI units, `since_s` seconds after the instruction.

        Args:
            mask: which streams are in use.
        """
        ...


class ClosedLoop:
    """Runs episodes, one after the other, in one simulator.

    Args:
        table: the streams that the robot has; without any, nothing is rendered and the arm moves
            blind, for policies that do not look.
        min_visual_streams: streams that must be in use for the arm to move.
        segmenter: labels the views from their other streams, as live; without one the labels are
            the simulator's, from a camera of their own.
        pose_check: weights of the check of pictures against joints, by stream; none for no check.
    """

    def __init__(
        self,
        table: StreamTable,
        min_visual_streams: int = 1,
        segmenter: Segmenter | None = None,
        pose_check: Mapping[str, StreamWeights] | None = None,
    ) -> None:
        self._table = table
        # The simulator's labels are pictures of a camera of their own.
        derived = {} if segmenter is None else table.derived
        self._pose_check = PoseCheck(pose_check, derived) if pose_check else None
        self._segmenter = segmenter
        self._gate = StreamGate(table, min(min_visual_streams, len(table)))
        self._simulation = Simulation()
        self._cameras = None
        self._camera_hz = round(max((stream.rate_hz for stream in table), default=CAMERA_HZ))
        if TICKS_HZ % self._camera_hz:
            raise ValueError(f"cameras at {self._camera_hz} Hz; expected a divisor of {TICKS_HZ}")
        if len(table):
            # Rendering pulls in OpenGL, which a robot without cameras does not need.
            from multismolvla.sim.cameras import Cameras

            self._cameras = Cameras(self._simulation.model, table)
            self._looked_at = mujoco.MjData(self._simulation.model)

    def run(
        self,
        policy: Policy,
        key: EpisodeKey,
        condition: Condition,
        spectator: Spectator | None = None,
    ) -> Outcome:
        """Run one episode; the same arguments give the same outcome, if the policy does its part.

        Raises:
            ValueError: the task or a setting of the key is unknown.
        """
        task = find_task(key.task)
        onset_s = None
        if condition.streams:
            onset_s = middle_s(task.id, task.suite, key.seed) if condition.middle else 0.0
        start_s = (onset_s or 0.0) + INSTRUCTION_NS * 1e-9
        faults = {
            name: FaultSchedule([timed])
            for name, timed in condition.faults(self._table, key.seed, start_s).items()
        }
        return _Episode(self, policy, key, faults, onset_s).run(spectator)

    def run_scenario(
        self,
        policy: Policy,
        key: EpisodeKey,
        scenario: Scenario,
    ) -> tuple[Outcome, FaultRecord]:
        """Run one episode with the faults of a scenario, and on until its last fault is over.

        Raises:
            ValueError: the task, a setting of the key or a fault is unknown.
        """
        record = FaultRecord(scenario, self._table)
        faults = scenario.schedules(self._table, INSTRUCTION_NS)
        episode = _Episode(self, policy, key, faults, None, record, scenario.lasts_s)
        outcome = episode.run(None)
        record.fastest_rad_s = episode.fastest_rad_s
        return outcome, record

    def close(self) -> None:
        """Release the renderer."""
        if self._cameras is not None:
            self._cameras.close()


class _Episode:
    def __init__(
        self,
        loop: ClosedLoop,
        policy: Policy,
        key: EpisodeKey,
        faults: Mapping[str, FaultSchedule],
        onset_s: float | None,
        record: FaultRecord | None = None,
        at_least_s: float = 0.0,
    ) -> None:
        if key.masks not in MASKS:
            raise ValueError(f"masks is '{key.masks}'; expected {' or '.join(MASKS)}")
        self._key, self._loop = key, loop
        self._onset_s, self._record, self._at_least_s = onset_s, record, at_least_s
        self._table, self._simulation = loop._table, loop._simulation
        self._cameras = loop._cameras
        self._task = find_task(key.task)
        self._simulation.reset(self._task, key.seed)
        if self._cameras is not None:
            self._cameras.reseed(key.seed)
        self._camera_ticks = TICKS_HZ // loop._camera_hz
        self._joint_states = DeliveryQueue(faults)

        check = None if key.masks == "oracle" else loop._pose_check
        if check is not None:
            check.forget()
        self._view = PolicyView(self._table, SETTINGS.policy.max_set_age_s, check=check)
        self._perception = None
        if len(self._table):
            self._perception = Perception(
                self._table,
                self._view,
                faults,
                SETTINGS,
                oracle=key.masks == "oracle",
                segmenter=loop._segmenter,
            )
        broken = [] if onset_s is None else [name for name in self._table.names if name in faults]
        self._masks = MaskRecord(broken)

        self._policy = PolicyInSimulation(policy, key, self._view, loop._gate)
        self._robot = RobotInSimulation(self._simulation.servos)

    def run(self, spectator: Spectator | None) -> Outcome:
        limit_s = DEFAULT_MAX_STEPS[self._task.suite] * STEP_S
        tick, simulated, given, late = 0, 0, False, False
        solved_s: float | None = None
        while True:
            now_ns = 1_000_000_000 + round(tick * 1e9 / TICKS_HZ)
            self._simulation.advance((tick - simulated) / TICKS_HZ)
            simulated = tick
            since_s = (now_ns - INSTRUCTION_NS) * 1e-9
            if since_s >= 0.0 and not given:
                given = True
                self._policy.start_anew(now_ns)
            if given and tick % (TICKS_HZ // CONTROL_HZ) == 0:
                if solved_s is None and not late and self._simulation.success():
                    solved_s = min(since_s, limit_s)
                late = since_s >= limit_s
                if (late or solved_s is not None) and since_s >= self._at_least_s:
                    break
            if tick % (TICKS_HZ // DRIVER_HZ) == 0:
                self._move(now_ns)
            if tick % self._camera_ticks == 0:
                self._look(now_ns, since_s, spectator)
            if self._perception is not None:
                self._perception.advance(now_ns)
            self._policy.take_answer(now_ns)
            if tick % (TICKS_HZ // CONTROL_HZ) == 0:
                self._control(now_ns, self._task.instruction if given else "", since_s)
            tick = self._next_event(tick)
        return self._outcome(solved_s is not None, limit_s if solved_s is None else solved_s)

    @property
    def fastest_rad_s(self) -> float:
        """Greatest speed of a joint's goal so far."""
        return self._robot.fastest_rad_s

    def _next_event(self, tick: int) -> int:
        """The next tick at which something is due."""
        periods = (TICKS_HZ // DRIVER_HZ, TICKS_HZ // CONTROL_HZ, self._camera_ticks)
        return min(tick - tick % period + period for period in periods)

    def _move(self, now_ns: int) -> None:
        """One period of the driver."""
        pose = self._robot.tick(now_ns)
        self._joint_states.send(JOINT_STATES, Delivery(pose, now_ns, now_ns))
        for _, delivery in self._joint_states.due(now_ns):
            self._view.states.add(delivery.stamp_ns, delivery.frame)

    def _look(self, now_ns: int, since_s: float, spectator: Spectator | None) -> None:
        """One period of the cameras."""
        self._view.on_objects(now_ns, self._simulation.object_poses())
        if self._cameras is None:
            # So that a policy that does not look is asked all the same.
            self._view.on_set(now_ns, now_ns, {}, {})
            return
        self._simulation.snapshot(self._loop._looked_at)
        watched = () if spectator is None or since_s < 0.0 else spectator.streams
        names = dict.fromkeys((*self._perception.needed(now_ns), *watched))
        frames = self._cameras.render(self._loop._looked_at, list(names), self._simulation.time_s)
        self._perception.expose(frames, now_ns)
        if watched:
            shown = {name: frames[name] for name in watched}
            spectator.on_frames(since_s, shown, self._policy.mask)

    def _control(self, now_ns: int, task: str, since_s: float) -> None:
        """One tick of the policy node."""
        statuses = {} if self._perception is None else self._perception.statuses(now_ns)
        trajectory = self._policy.tick(now_ns, task, statuses)
        if trajectory is not None:
            self._robot.follow(trajectory)
        if not task:
            return
        damaged = set() if self._perception is None else self._perception.damaged(now_ns)
        self._masks.add(since_s, self._policy.mask, damaged, self._onset_s)
        if self._record is not None:
            age_s = self._view.states.age_s(now_ns)
            known = age_s is not None and abs(age_s) <= JOINT_STATES_TIMEOUT_S
            available = {**self._policy.mask, JOINT_STATES: known}
            states = {name: state for name, (state, _) in statuses.items()}
            self._record.add(since_s, available, states, damaged)

    def _outcome(self, success: bool, duration_s: float) -> Outcome:
        return Outcome(
            self._key,
            success,
            round(duration_s, 3),
            onset_s=None if self._onset_s is None else round(self._onset_s, 3),
            masked_after_s=self._masks.masked_after_s,
            false_mask_share=round(self._masks.false_share, 5),
            jerk_rad_s3=round(self._robot.jerk_rad_s3(), 2),
            limit_hits=self._robot.limit_hits,
            inferences=self._policy.inferences,
            starved_ticks=self._policy.starved_ticks,
            hold_share=round(self._policy.held_ticks / max(1, self._policy.ticks), 4),
            policy_error=self._policy.error,
        )
