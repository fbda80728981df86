"""One control period: mode, playback of the queue, and when to ask again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from multismolvla.control.action_queue import ActionQueue
from multismolvla.control.inference import InferenceSchedule
from multismolvla.control.policy_view import PolicyView, StreamGate, StreamMask
from multismolvla.embodiment.description import ActionSpace

# What the policy node says about itself: one mode and one reason.


class Mode(NamedTuple):
    """`idle` without a task, `running` while a chunk is executed, else `hold`."""

    name: str
    reason: str


def describe(
    *,
    task: str,
    holding: bool,
    hold_reason: str,
    policy_problem: str,
    had_chunk: bool,
    latency_s: float,
) -> Mode:
    """Return the mode and the reason that a person should read first.

    Args:
        holding: no target of the queue is being executed.
        hold_reason: why nothing may be executed, or "".
        policy_problem: the error of the last inference, or ""; reported while running, too.
        had_chunk: a chunk of this task has been executed, so an empty queue has run dry.
        latency_s: how long an inference takes.
    """
    if not holding:
        return Mode("running", policy_problem)
    if not task:
        return Mode("idle", hold_reason)
    if hold_reason or policy_problem:
        return Mode("hold", hold_reason or policy_problem)
    if had_chunk:
        return Mode("hold", f"the queue ran dry, an inference takes {latency_s:.2f} s")
    return Mode("hold", "waiting for the first chunk")


# The setpoint of each tick of the control loop, and what is sent when there is none.
#
# Three situations, in order of precedence:
# - a hold is required (no task, too few streams, ...): the queue is cleared, nothing is executed;
# - the queue has a target for now: it is executed, with a few points of look-ahead;
# - the queue has nothing: the arm holds until the next chunk. After the first chunk of a task this
#   is a starved tick, and counted.
#
# Holding repeats the last setpoint, as a single point, for a short time: that ends the look-ahead
# the driver already has, at the last commanded pose. Then nothing is sent and the driver's
# own stale-command hold takes over, so that a hold never fights a person who moves the arm, a stop
# or another node. Before the first setpoint nothing is sent: never zeros.
#
# An arm that is commanded by steps would move on if one were repeated: it is sent a step of zero
# instead, with the gripper as it was commanded last.

# Long enough for one of the repeated setpoints to get through to the driver on a loaded machine.
HOLD_REPEAT_NS = 200_000_000
# A clock may be corrected by a little; a larger step back is a restarted simulation or a bag.
CLOCK_JUMP_NS = 50_000_000


class Playback:
    """Reads the queue once per tick on an explicit clock.

    Args:
        look_ahead_points: points per tick including the one for now.
        step_ns: time between them, nanoseconds.
        space: as in `ActionQueue`.

    Attributes:
        holding: no target of the queue is being executed.
        times_ns: (N,) when each target of the last tick is due; None where it sent nothing.
    """

    def __init__(
        self,
        queue: ActionQueue,
        look_ahead_points: int,
        step_ns: int,
        space: ActionSpace | None = None,
    ) -> None:
        self._queue = queue
        self._space = space
        self._points = look_ahead_points
        self._step_ns = step_ns
        self._now_ns: int | None = None
        self._last: np.ndarray | None = None
        self._last_ns = 0
        self._had_chunk = False
        self._held = False
        self.holding = True
        self.starved_ticks = 0
        self.times_ns: np.ndarray | None = None

    @property
    def had_chunk(self) -> bool:
        """True once a chunk of this task has been executed."""
        return self._had_chunk

    def clock_jumped_back(self, now_ns: int) -> bool:
        """True if the clock has been set back since the last tick; `restart` then."""
        return self._now_ns is not None and now_ns < self._now_ns - CLOCK_JUMP_NS

    def restart(self, now_ns: int) -> None:
        """Drop what is queued: another task, or a clock set back. The next chunk is a first."""
        self._queue.clear()
        self._had_chunk = False
        if self._now_ns is not None and self._now_ns - self._last_ns <= HOLD_REPEAT_NS:
            self._last_ns = now_ns
        else:
            self._last = None
        self._now_ns = now_ns

    def tick(self, now_ns: int, *, hold: bool) -> np.ndarray | None:
        """(N, J) targets for now, now + step, ... with N >= 1, or None to send nothing.

        Args:
            hold: True if nothing may be executed now.
        """
        if self._now_ns is not None:
            now_ns = max(now_ns, self._now_ns)
        self._now_ns = now_ns
        if hold and not self._held:
            # Also refuses a chunk that is being computed: its observation is from before.
            self._queue.clear()
            self._had_chunk = False
        self._held = hold
        ahead = None if hold else self._queue.look_ahead(now_ns, self._points, self._step_ns)
        self.holding = ahead is None
        self.times_ns = None
        if ahead is not None:
            self._had_chunk = True
            self._last, self._last_ns = ahead.targets[0], now_ns
            self.times_ns = ahead.times_ns
            return ahead.targets
        if self._had_chunk:
            self.starved_ticks += 1
        if self._last is None or now_ns - self._last_ns > HOLD_REPEAT_NS:
            return None
        self.times_ns = np.array([now_ns])
        still = self._last if self._space is None else self._space.still(self._last)
        return still[None]


# One tick of the control loop: the setpoint, and whether an inference starts.


@dataclass(frozen=True)
class Tick:
    """What a tick has decided.

    Attributes:
        targets: (N, A) setpoints for now and the next control periods, None to send nothing.
        infer: an inference is to start now; the schedule counts it as started.
        hold_reason: why nothing may be executed, or "".
        mask_changed: the availability of a stream has changed since the last tick.
        times_ns: (N,) when each target is due; None where there are none.
    """

    targets: np.ndarray | None
    infer: bool
    hold_reason: str
    mask_changed: bool
    times_ns: np.ndarray | None


class PolicyLoop:
    """Decides on an explicit clock; holds no thread.

    Args:
        joint_states_timeout_s: age of the joint states at which the arm holds.
    """

    def __init__(
        self,
        gate: StreamGate,
        view: PolicyView,
        queue: ActionQueue,
        schedule: InferenceSchedule,
        playback: Playback,
        joint_states_timeout_s: float,
    ) -> None:
        self._gate = gate
        self._view = view
        self._queue = queue
        self._schedule = schedule
        self._playback = playback
        self._timeout_s = joint_states_timeout_s
        self._since_ns = 0
        self.mask = StreamMask()

    def start_anew(self, now_ns: int) -> None:
        """Drop the queue and earlier observations: another task, or a clock set back."""
        self._since_ns = now_ns
        self._playback.restart(now_ns)
        self._schedule.reset()

    def tick(self, now_ns: int, task: str, mask: StreamMask, not_ready: str = "") -> Tick:
        """Decide what happens now.

        Args:
            mask: which streams may be used now.
            not_ready: why the policy is not ready yet, or "".
        """
        previous, self.mask = self.mask, mask
        if mask.lost_since(previous):
            self._schedule.refresh()
        hold_reason = self._hold_reason(now_ns, task, not_ready)
        targets = self._playback.tick(now_ns, hold=bool(hold_reason))
        # What was seen before the task was given may show a scene that is gone.
        ready = not hold_reason and self._view.seen_since(self._since_ns)
        infer = ready and self._schedule.due(now_ns, self._queue.level(now_ns))
        if infer:
            self._schedule.started(now_ns)
        mask_changed = mask.available != previous.available
        return Tick(targets, infer, hold_reason, mask_changed, self._playback.times_ns)

    def _hold_reason(self, now_ns: int, task: str, not_ready: str) -> str:
        """Why nothing may be executed now, or ""."""
        if not task:
            return "no task"
        if not_ready:
            return not_ready
        if now_ns == 0:
            return "no /clock yet"
        age_s = self._view.states.age_s(now_ns)
        if age_s is None:
            return "no joint_states"
        limit_s = self._timeout_s
        if age_s > limit_s:
            return f"joint_states are older than {limit_s} s"
        if age_s < -limit_s:
            return f"joint_states are stamped more than {limit_s} s in the future"
        if problem := self._view.states.problem(now_ns):
            return problem
        return self._gate.decide(self.mask.available).reason
