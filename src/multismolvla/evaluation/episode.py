"""Runs an episode of the closed loop by its key, and measures what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from multismolvla.control.safety import Command, Setpoint
from multismolvla.evaluation.outcome import EpisodeKey, Outcome
from multismolvla.faults.conditions import Condition, middle_s
from multismolvla.faults.delivery_queue import FaultSchedule
from multismolvla.faults.fault import JOINT_STATES
from multismolvla.faults.record import FaultRecord, MaskRecord
from multismolvla.faults.scenario import Scenario
from multismolvla.interfaces import Policy
from multismolvla.robot.so101 import ArmState
from multismolvla.stack.episode import Ended, Episode, Moment, Spectator
from multismolvla.stack.settings import PolicySettings
from multismolvla.stack.worlds import EpisodeLoop, find_world

MASKS = ("detector", "oracle")
EXECUTIONS = ("asynchronous", "synchronous")
# A synchronous robot infers only when nothing is queued.
WHEN_EMPTY = 1e-9


def run_episode(
    loop: EpisodeLoop,
    policy: Policy,
    key: EpisodeKey,
    condition: Condition,
    spectator: Spectator | None = None,
) -> Outcome:
    """Run one episode; the same arguments give the same outcome, if the policy does its part.

    Raises:
        ValueError: the task or a setting of the key is unknown.
    """
    world = find_world(loop.world_name)
    task = world.find(key.task)
    onset_s = None
    if condition.streams:
        onset_s = 0.0
        if condition.middle:
            onset_s = middle_s(task.id, task.suite, key.seed, world.middle_s)
    start_s = (onset_s or 0.0) + loop.instruction_ns * 1e-9
    faults = {
        name: FaultSchedule([timed])
        for name, timed in condition.faults(loop.table, key.seed, start_s).items()
    }
    broken = [] if onset_s is None else [name for name in loop.table.names if name in faults]
    record = _EpisodeRecord(loop, broken, onset_s)
    ended = loop.run(policy, _episode(key, faults), _settings(loop, key), [record], spectator)
    return record.outcome(key, ended)


def run_scenario(
    loop: EpisodeLoop, policy: Policy, key: EpisodeKey, scenario: Scenario
) -> tuple[Outcome, FaultRecord]:
    """Run one episode with the faults of a scenario, and on until its last fault is over.

    Raises:
        ValueError: the task, a setting of the key or a fault is unknown.
    """
    faults = FaultRecord(scenario, loop.table)
    record = _EpisodeRecord(loop, (), None, faults)
    schedules = scenario.schedules(loop.table, loop.instruction_ns)
    episode = replace(_episode(key, schedules), lasts_s=scenario.lasts_s)
    ended = loop.run(policy, episode, _settings(loop, key), [record])
    faults.fastest_rad_s = record.fastest_rad_s
    return record.outcome(key, ended), faults


def _episode(key: EpisodeKey, faults: Mapping[str, FaultSchedule]) -> Episode:
    if key.masks not in MASKS:
        raise ValueError(f"masks is '{key.masks}'; expected {' or '.join(MASKS)}")
    if key.execution not in EXECUTIONS:
        raise ValueError(f"execution is '{key.execution}'; expected {' or '.join(EXECUTIONS)}")
    return Episode(
        key.task,
        key.seed,
        faults,
        oracle=key.masks == "oracle",
        latency_s=key.latency_s,
        dropped_share=(key.queue_threshold or 0.0) if key.execution == "synchronous" else None,
    )


def _settings(loop: EpisodeLoop, key: EpisodeKey) -> PolicySettings:
    threshold = WHEN_EMPTY if key.execution == "synchronous" else key.queue_threshold
    return replace(loop.settings.policy, queue_threshold=threshold, chunk_entry=key.chunk_entry)


class _EpisodeRecord:
    """An observer of the closed loop that makes an outcome.

    Attributes:
        fastest_rad_s: greatest speed of a joint's goal from one period of the driver to the next.
    """

    def __init__(
        self,
        loop: EpisodeLoop,
        broken: Sequence[str],
        onset_s: float | None,
        faults: FaultRecord | None = None,
    ) -> None:
        self._rate_hz = loop.settings.driver.rate_hz
        self._arm = loop.embodiment
        self._onset_s = onset_s
        self._masks, self._faults = MaskRecord(broken), faults
        self._ticks = self._held_ticks = 0
        self._velocities: list[np.ndarray] = []
        self._goal_rad: np.ndarray | None = None
        self._beyond = False
        self._limit_hits = 0
        self.fastest_rad_s = 0.0

    def on_moment(self, moment: Moment) -> None:
        self._ticks += 1
        self._held_ticks += moment.holds
        self._masks.add(moment.since_s, moment.available, moment.damaged, self._onset_s)
        if self._faults is not None:
            available = {**moment.available, JOINT_STATES: moment.joints_known}
            self._faults.add(moment.since_s, available, moment.states, moment.damaged)

    def on_state(self, state: ArmState) -> None:
        self._velocities.append(state.velocities_rad_s)

    def on_setpoint(self, command: Command | None, setpoint: Setpoint) -> None:
        if command is not None:
            target = command.target_rad
            arm = self._arm
            beyond = bool(((target < arm.lower_rad) | (target > arm.upper_rad)).any())
            self._limit_hits += beyond and not self._beyond
            self._beyond = beyond
        if setpoint.goal_rad is not None:
            if self._goal_rad is not None:
                step_rad = float(np.abs(setpoint.goal_rad - self._goal_rad).max())
                self.fastest_rad_s = max(self.fastest_rad_s, step_rad * self._rate_hz)
            self._goal_rad = setpoint.goal_rad.copy()

    def outcome(self, key: EpisodeKey, ended: Ended) -> Outcome:
        """What came of the episode."""
        return Outcome(
            key,
            ended.success,
            round(ended.duration_s, 3),
            onset_s=None if self._onset_s is None else round(self._onset_s, 3),
            masked_after_s=self._masks.masked_after_s,
            false_mask_share=round(self._masks.false_share, 5),
            jerk_rad_s3=round(self._jerk_rad_s3(), 2),
            limit_hits=self._limit_hits,
            inferences=ended.policy.inferences,
            starved_ticks=ended.policy.starved_ticks,
            hold_share=round(self._held_ticks / max(1, self._ticks), 4),
            policy_error=ended.policy.error,
        )

    def _jerk_rad_s3(self) -> float:
        """Root mean square of the joints' jerk, from their velocities."""
        if len(self._velocities) < 3:
            return 0.0
        jerk = np.diff(np.array(self._velocities), n=2, axis=0) * self._rate_hz**2
        return float(np.sqrt(np.mean(jerk**2)))
