"""The deciding half of the stack without ROS: the policy node's cores and a simulated latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from multismolvla.arm import JOINT_NAMES
from multismolvla.control.action_queue import (
    ENTRIES,
    ActionQueue,
    QueuedTargets,
    QueueLevel,
    merge_strategy,
)
from multismolvla.control.inference import (
    Inference,
    InferenceSchedule,
    ObservationFilter,
    RefillThreshold,
)
from multismolvla.control.policy_loop import Playback, PolicyLoop
from multismolvla.control.policy_view import PolicyView, StreamGate
from multismolvla.control.trajectory import Trajectory
from multismolvla.interfaces import ActionChunk, Observation, Policy
from multismolvla.stack.outcome import EpisodeKey

# As config/policy_node.yaml has them.
CONTROL_HZ = 50
MERGE, CROSSFADE_S = "crossfade", 0.2
QUEUE_THRESHOLD = 0.7
OBSERVATION_TOLERANCE_RAD = 0.02
JOINT_STATES_TIMEOUT_S = 0.5
LOOK_AHEAD_POINTS = 5
# A synchronous robot asks only when nothing is queued.
WHEN_EMPTY = 1e-9
EXECUTIONS = ("asynchronous", "synchronous")


@dataclass(frozen=True)
class _Pending:
    """An answer on its way."""

    arrive_ns: int
    chunk: ActionChunk
    observation: Observation
    generation: int


class PolicyInSimulation:
    """Does what `policy_node` does, on an explicit clock.

    Args:
        key: says how the policy is executed.
        on_chunk: shown what is queued after each merge, and when that was.

    Attributes:
        error: the last error of the policy, or "".
        held_ticks: ticks with a task in which nothing might be executed, of `ticks` in all.
    """

    def __init__(
        self,
        policy: Policy,
        key: EpisodeKey,
        view: PolicyView,
        gate: StreamGate,
        on_chunk: Callable[[int, QueuedTargets], None] | None = None,
    ) -> None:
        self._on_chunk = on_chunk
        if key.execution not in EXECUTIONS:
            raise ValueError(f"execution is '{key.execution}'; expected {' or '.join(EXECUTIONS)}")
        self._key, self._view = key, view
        self._synchronous = key.execution == "synchronous"
        self._queue = ActionQueue(merge_strategy(MERGE, CROSSFADE_S), ENTRIES[key.chunk_entry])
        schedule = InferenceSchedule(
            RefillThreshold(WHEN_EMPTY if self._synchronous else key.queue_threshold),
            ObservationFilter(OBSERVATION_TOLERANCE_RAD),
        )
        self._step_ns = round(1e9 / CONTROL_HZ)
        self._playback = Playback(self._queue, LOOK_AHEAD_POINTS, self._step_ns)
        self._loop = PolicyLoop(
            gate, view, self._queue, schedule, self._playback, JOINT_STATES_TIMEOUT_S
        )
        self._inference = Inference(policy, schedule, self._queue)
        self._pending: _Pending | None = None
        self.error = ""
        self.held_ticks = self.ticks = 0

    @property
    def mask(self) -> Mapping[str, bool]:
        """Which streams are in use."""
        return self._loop.mask.available

    @property
    def inferences(self) -> int:
        """Chunks executed so far."""
        return self._inference.inferences

    @property
    def starved_ticks(self) -> int:
        """Ticks in which the queue had run dry."""
        return self._playback.starved_ticks

    def start_anew(self, now_ns: int) -> None:
        """A task is given."""
        self._loop.start_anew(now_ns)
        self._inference.start_anew()

    def level(self, now_ns: int) -> QueueLevel:
        """How full the queue is."""
        return self._queue.level(now_ns)

    def tick(
        self, now_ns: int, task: str, statuses: Mapping[str, tuple[str, str]]
    ) -> Trajectory | None:
        """One control period; return what the driver is told, if anything."""
        tick = self._loop.tick(now_ns, task, self._view.mask(now_ns, statuses))
        if tick.infer:
            self._infer(now_ns, task, statuses)
        if task:
            self.ticks += 1
            self.held_ticks += bool(tick.hold_reason)
        if tick.targets is None:
            return None
        offsets_s = np.arange(len(tick.targets)) * self._step_ns * 1e-9
        return Trajectory(now_ns, JOINT_NAMES, offsets_s, list(tick.targets))

    def take_answer(self, now_ns: int) -> None:
        """Merge the answer that is on its way, if it is there."""
        if self._pending is None or now_ns < self._pending.arrive_ns:
            return
        answer, self._pending = self._pending, None
        chunk = answer.chunk
        if self._synchronous:
            # The arm has waited where it was observed: the chunk begins now.
            rows = len(chunk.actions) * (1.0 - (self._key.queue_threshold or 0.0))
            chunk = replace(chunk, stamp_ns=now_ns, actions=chunk.actions[: max(1, round(rows))])
        try:
            merged = self._inference.merge(
                chunk, answer.observation, now_ns, answer.generation, self._view.states.latest()
            )
            if merged and self._on_chunk is not None:
                self._on_chunk(now_ns, self._queue.queued())
        except ValueError as error:
            self._fail(now_ns, error)

    def _infer(self, now_ns: int, task: str, statuses: Mapping[str, tuple[str, str]]) -> None:
        generation = self._queue.generation
        try:
            self._inference.prepare()
            observation = self._view.observation(now_ns, task, statuses)
            chunk = self._inference.ask(observation, now_ns, generation)
        except Exception as error:  # A policy is foreign code: it may raise anything.
            self._fail(now_ns, error)
            return
        if chunk is not None:
            arrive_ns = now_ns + round(self._key.latency_s * 1e9)
            self._pending = _Pending(arrive_ns, chunk, observation, generation)

    def _fail(self, now_ns: int, error: Exception) -> None:
        self._inference.failed(now_ns)
        self.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
