"""From frames, statuses, joint states and a task to setpoints of the arm, on an explicit clock.

Live, three threads share a runner: one takes in (`view`, `give_task`), one decides (`tick`), one
infers (`infer`, `merge`). Evaluation and replay call the same methods in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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
from multismolvla.control.load_shedding import POSE_CHECK, REPLANNING_RATE, Load
from multismolvla.control.policy_loop import Mode, Playback, PolicyLoop, describe
from multismolvla.control.policy_view import PolicyView, SetCheck, StreamGate, StreamMask
from multismolvla.control.trajectory import Trajectory, TrajectoryError
from multismolvla.embodiment.description import ActionSpace
from multismolvla.interfaces import ActionChunk, Observation, Policy
from multismolvla.one_line import one_line
from multismolvla.stack.settings import PolicySettings
from multismolvla.streams import StreamTable

# Factor on the queue threshold while inferences are reduced.
RELAXED_THRESHOLD = 0.5

# Stream -> (state, reasons), as the sensor nodes report it.
Statuses = Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Request:
    """An inference that is due: its task, and the generation of the queue it is meant for."""

    task: str
    generation: int


@dataclass(frozen=True)
class Answer:
    """A chunk that has not been merged yet."""

    request: Request
    observation: Observation
    chunk: ActionChunk


@dataclass(frozen=True)
class PolicyTick:
    """What a control period has decided.

    Attributes:
        targets: (N, A) setpoints, radians, or steps, for now and the next periods; None to send
            nothing.
        request: the inference that is to start now, if any.
        holds: nothing may be executed.
        changed: mode, reason or mask are not those of the last period.
        times_ns: (N,) when each target is due: now and one period later each, or when the row of a
            step begins, which is the same in every tick that has it.
    """

    targets: np.ndarray | None
    request: Request | None
    holds: bool
    changed: bool
    times_ns: np.ndarray | None


class PolicyRunner:
    """Queue, schedule, playback, gate and view around one policy.

    Args:
        names: of the numbers of an action; of an arm that follows joint targets, its joints in the
            order of states and targets.
        check: compares every set of frames with the joints; None for no check.
        on_event: gets (severity, text): `info`, `warning` or `error`, once per change.
        space: of an arm that is commanded by steps; None for joint targets. The arm's period is the
            control period then, whatever `control_rate_hz` is, and `chunk_entry` and `merge` do not
            matter: see `ActionQueue`.

    Attributes:
        view: takes in sets of frames, joint states and privileged poses of objects.
        mode: `idle`, `running` or `hold`, and why.
        task: the instruction that is followed.
        problem: why the last inference failed, "" when it did not.
        error: of the last inference that failed, "" when none has.
        step_ns: the control period.
    """

    def __init__(
        self,
        policy: Policy,
        names: Sequence[str],
        table: StreamTable,
        settings: PolicySettings,
        check: SetCheck | None = None,
        on_event: Callable[[str, str], None] = lambda severity, text: None,
        space: ActionSpace | None = None,
    ) -> None:
        self._name = settings.policy
        self._names = tuple(names)
        self._steps = space if space is not None and space.deltas else None
        self._on_event = on_event
        self._queue = ActionQueue(
            merge_strategy(settings.merge, settings.crossfade_s),
            ENTRIES[settings.chunk_entry],
            self._steps,
        )
        self._threshold = RefillThreshold(settings.queue_threshold)
        schedule = InferenceSchedule(
            self._threshold, ObservationFilter(settings.observation_tolerance_rad)
        )
        rate_hz = settings.control_rate_hz
        self.step_ns = round(self._steps.period_s * 1e9 if self._steps else 1e9 / rate_hz)
        self._playback = Playback(
            self._queue, settings.look_ahead_points, self.step_ns, self._steps
        )
        joints = () if self._steps else self._names
        self.view = PolicyView(table, settings.max_set_age_s, check, joints)
        self._loop = PolicyLoop(
            StreamGate(table, settings.min_visual_streams),
            self.view,
            self._queue,
            schedule,
            self._playback,
            settings.joint_states_timeout_s,
        )
        self._inference = Inference(policy, schedule, self._queue, self._names, self._steps)
        self._contradicting: list[str] = []
        self._wanted_task = self.task = ""
        self.mode = Mode("idle", "")
        self.problem = self.error = ""

    def give_task(self, task: str) -> None:
        """Follow this instruction from the next tick on; the same again changes nothing."""
        self._wanted_task = task.strip()

    def relax(self, load: Load) -> None:
        """Do less while the machine cannot keep up."""
        self.view.suspend_check(POSE_CHECK in load.shed)
        self._threshold.scale = RELAXED_THRESHOLD if REPLANNING_RATE in load.shed else 1.0

    # The thread that decides.

    def tick(
        self, now_ns: int, statuses: Statuses, lag_s: float = 0.0, not_ready: str = ""
    ) -> PolicyTick:
        """One control period.

        Args:
            statuses: health of the streams as far as it is known.
            lag_s: how late this process takes its messages in, seconds.
            not_ready: why the policy is not ready yet, or "".
        """
        if self._playback.clock_jumped_back(now_ns):
            self._on_event("warning", "the clock was set back: restarting the task")
            self.view.clear()
            self._start_anew(now_ns)
        if self._wanted_task != self.task:
            self.task = self._wanted_task
            self._on_event("info", f"task: {self.task or 'none, idle'}")
            self._start_anew(now_ns)
        mask = self.view.mask(now_ns, statuses, lag_s)
        tick = self._loop.tick(now_ns, self.task, mask, not_ready)
        request = Request(self.task, self._queue.generation) if tick.infer else None
        self._report_contradictions()
        changed = self._set_mode(tick.hold_reason) or tick.mask_changed
        return PolicyTick(tick.targets, request, bool(tick.hold_reason), changed, tick.times_ns)

    def trajectory(self, now_ns: int, targets: np.ndarray) -> Trajectory:
        """The setpoints of a tick as the arm runner follows them.

        Raises:
            TrajectoryError: they are steps.
        """
        if self._steps is not None:
            raise TrajectoryError("the arm is commanded by steps; expected joint targets")
        offsets_s = np.arange(len(targets)) * self.step_ns * 1e-9
        names = self._names
        return Trajectory(now_ns, names, offsets_s, list(targets), names)

    def _start_anew(self, now_ns: int) -> None:
        self._loop.start_anew(now_ns)
        self._inference.start_anew()

    def _set_mode(self, hold_reason: str) -> bool:
        """Take on the mode, report a change of it; True if mode or reason changed."""
        mode = describe(
            task=self.task,
            holding=self._playback.holding,
            hold_reason=hold_reason,
            policy_problem=self.problem and f"policy error: {self.problem}",
            had_chunk=self._playback.had_chunk,
            latency_s=self._threshold.latency_s,
        )
        previous, self.mode = self.mode, mode
        if mode.name != previous.name:
            severity = "warning" if mode.name == "hold" else "info"
            self._on_event(severity, f"{mode.name}: {mode.reason}" if mode.reason else mode.name)
        return mode != previous

    def _report_contradictions(self) -> None:
        previous, self._contradicting = self._contradicting, list(self.view.refused)
        if set(self._contradicting) - set(previous):
            self._on_event("warning", self.contradiction)
        elif previous and not self._contradicting:
            self._on_event("info", "no image contradicts the pose any more")

    # The inference thread.

    def infer(
        self, request: Request, clock_ns: Callable[[], int], statuses: Callable[[], Statuses]
    ) -> Answer | None:
        """Observe and infer; None if there is nothing to merge. Every error of the policy ends in
        `problem`, and the schedule retries.

        Args:
            clock_ns, statuses: read after the policy's reset, which may take long.
        """
        try:
            self._inference.prepare()
            now_ns = clock_ns()
            observation = self.view.observation(now_ns, request.task, statuses())
            chunk = self._inference.ask(observation, now_ns, request.generation)
        except Exception as error:  # A policy is foreign code: it may raise anything.
            self._failed(clock_ns(), error)
            return None
        return None if chunk is None else Answer(request, observation, chunk)

    def merge(self, answer: Answer, now_ns: int) -> bool:
        """Queue the chunk of an answer; False where it is of no use."""
        try:
            merged = self._inference.merge(
                answer.chunk,
                answer.observation,
                now_ns,
                answer.request.generation,
                None if self._steps else self.view.states.latest(),
            )
        except ValueError as error:
            self._failed(now_ns, error)
            return False
        if merged and self.problem:
            self.problem = ""
            self._on_event("info", f"policy '{self._name}' works again")
        return merged

    def _failed(self, now_ns: int, error: Exception) -> None:
        self._inference.failed(now_ns)
        first = not self.problem
        self.problem = self.error = f"{type(error).__name__}: {one_line(error)}"
        if first:
            self._on_event(
                "error", f"policy '{self._name}' failed: {self.problem}; retrying until it works"
            )

    # For any thread.

    @property
    def mask(self) -> StreamMask:
        """Which streams are in use, and why not the others."""
        return self._loop.mask

    @property
    def contradiction(self) -> str:
        """Which images contradict the pose, for a person; "" for none."""
        if not self._contradicting:
            return ""
        if not any(self.mask.available.values()) and len(self._contradicting) > 1:
            return "every image contradicts the pose: check the joint states"
        return f"masked because the images contradict the pose: {', '.join(self._contradicting)}"

    @property
    def inferences(self) -> int:
        """Chunks merged so far."""
        return self._inference.inferences

    @property
    def starved_ticks(self) -> int:
        """Ticks in which the queue had run dry."""
        return self._playback.starved_ticks

    def level(self, now_ns: int) -> QueueLevel:
        """How full the queue is."""
        return self._queue.level(now_ns)

    def queued(self) -> QueuedTargets | None:
        """A copy of what is queued, None when nothing is."""
        return self._queue.queued()

    def values(self, now_ns: int) -> dict[str, object]:
        """The figures of `policy/status` by name."""
        level = self.level(now_ns)
        return {
            "mode": self.mode.name,
            "reason": self.mode.reason,
            "queue_length": level.actions,
            "queue_s": f"{level.seconds:.3f}",
            "threshold": f"{self._threshold.fraction(level.chunk_size, level.period_s):.3f}",
            "latency_ms": f"{self._inference.latency_s * 1e3:.1f}",
            "inferences": self.inferences,
            "starved_ticks": self.starved_ticks,
            "task": self.task,
        }
