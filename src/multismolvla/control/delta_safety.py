"""The last thing between a step and an arm that is commanded by steps of its gripper.

The states are those of `safety.py`: IDLE until the first command, TRACKING while commands come,
HOLD when they stop or are refused, STOPPED after a stop until a reset. The controller behind it
takes an action in every period, so there is always one: outside of TRACKING the arm is held still
at once, by a step of zero with the gripper as it was. A step that has been executed is never
executed again, since the arm would move on.

Commands come as trajectories over a link that is late now and then. `StepPlayer` finds the step
that is next in them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from multismolvla.control.safety import SafetyState, outdated, unusable
from multismolvla.control.trajectory import Trajectory
from multismolvla.embodiment.description import ActionSpace


@dataclass(frozen=True)
class DeltaLimits:
    """What the arm is allowed to do.

    Attributes:
        space: of its actions, with their bounds.
        change: largest change of a number from one action to the next, but for those that the space
            keeps: they are targets. 1.0 of an arm with bounds of -1 and 1 lets it start at full
            speed, and turn round in two periods.
        command_timeout_s: age from which a command counts for nothing.
    """

    space: ActionSpace
    change: float = 1.0
    command_timeout_s: float = 0.2

    def __post_init__(self) -> None:
        if not self.space.deltas:
            raise ValueError(f"space is of {self.space.kind}; expected end_effector_deltas")
        for key in ("change", "command_timeout_s"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} is {getattr(self, key)}; expected a positive number")


@dataclass(frozen=True)
class DeltaCommand:
    """An action (A,) for now, and when it was made."""

    stamp_ns: int
    action: np.ndarray


@dataclass(frozen=True)
class SafeDelta:
    """What to do now.

    Attributes:
        action: (A,) within the bounds.
        state: see the module.
        reason: why the arm does not follow, or what was changed; empty when it just follows.
    """

    action: np.ndarray
    state: SafetyState
    reason: str


class DeltaFilter:
    """Turns commands into actions that keep the limits. One step per period of the arm."""

    def __init__(self, limits: DeltaLimits) -> None:
        self._limits = limits
        space = limits.space
        self._lower, self._upper = np.array(space.lower), np.array(space.upper)
        self._change = np.array([np.inf if n in space.kept else limits.change for n in space.names])
        # Until the first command the gripper's number is 0, or the nearest to it.
        self._last = np.clip(np.zeros(len(space.names)), self._lower, self._upper)
        self._then_ns: int | None = None
        self._done_ns: int | None = None
        self.state = SafetyState.IDLE
        self.reason = "no command yet"

    @property
    def moving(self) -> bool:
        """Whether the arm is being commanded to move."""
        return self.state is SafetyState.TRACKING

    def stop(self, reason: str) -> None:
        """Hold still, and refuse every command until `reset`."""
        self.state, self.reason = SafetyState.STOPPED, reason

    def reset(self, reason: str = "no command yet") -> None:
        """Forget a stop, or that the arm was ever commanded."""
        self.state, self.reason = SafetyState.IDLE, reason

    def step(self, now_ns: int, command: DeltaCommand | None, reason: str = "") -> SafeDelta:
        """Return what to do at `now_ns`.

        Args:
            command: the newest command, None where there is none.
            reason: why there is none.
        """
        if self._then_ns is not None and now_ns < self._then_ns:
            # The clock was set back: stamps begin anew.
            self._done_ns = None
        self._then_ns = now_ns
        refusal = reason or "no command" if command is None else self._refusal(now_ns, command)
        if self.state is SafetyState.STOPPED:
            return self._still()
        if refusal:
            if self.state is SafetyState.TRACKING:
                self.state = SafetyState.HOLD
            # Without any command so far the reason stays as it is.
            if command is not None or reason or self.state is SafetyState.HOLD:
                self.reason = refusal
            return self._still()
        self.state, self._done_ns = SafetyState.TRACKING, command.stamp_ns
        return self._follow(np.asarray(command.action, float))

    def _refusal(self, now_ns: int, command: DeltaCommand) -> str:
        """Why the command may not be followed; empty if it may."""
        bad = unusable("action", command.action, self._last.shape)
        bad = bad or outdated(now_ns, command.stamp_ns, self._limits.command_timeout_s)
        if not bad and self._done_ns is not None and command.stamp_ns <= self._done_ns:
            return "no new command"
        return bad

    def _follow(self, wanted: np.ndarray) -> SafeDelta:
        allowed = np.clip(wanted, self._lower, self._upper)
        names = [self._limits.space.names[k] for k in np.flatnonzero(allowed != wanted)]
        self.reason = f"at the limit: {', '.join(names)}" if names else ""
        self._last = np.clip(allowed, self._last - self._change, self._last + self._change)
        return SafeDelta(self._last.copy(), self.state, self.reason)

    def _still(self) -> SafeDelta:
        self._last = self._limits.space.still(self._last)
        return SafeDelta(self._last.copy(), self.state, self.reason)


class StepPlayer:
    """Hands out the steps of trajectories, one per period of the arm and in their order.

    A step is known by the instant at which it is due, which is the same in every trajectory that
    has it; the newest one counts. The arm's period and the sender's begin at different times, and
    neither is exact: so a step is handed out up to half a period early, and late by one and a half
    to begin with and two and a half from then on. None is left out or done twice while both keep
    their pace; an arm that is slower than its sender leaves out what it is late for.
    """

    def __init__(self, space: ActionSpace) -> None:
        self._period_ns = round(1e9 * space.period_s)
        self._nothing = np.empty(0, np.int64), np.empty((0, len(space.names)))
        self._lock = threading.Lock()
        self._playing = False
        self._then_ns = 0
        self.forget()

    def follow(self, trajectory: Trajectory) -> None:
        """Take the steps from here from its first one on."""
        new = trajectory.times_ns
        with self._lock:
            # Those before it belong to the same plan, or to the one that it continues.
            kept = (self._times < new[0]) & (self._times > new[0] - 3 * self._period_ns)
            self._times = np.concatenate([self._times[kept], new])
            self._rows = np.concatenate([self._rows[kept], trajectory.rows])
            self._problem = ""

    def refuse(self, problem: str) -> None:
        """Have no steps until the next trajectory: this one cannot be followed."""
        with self._lock:
            (self._times, self._rows), self._problem = self._nothing, problem

    def forget(self) -> None:
        """Have no steps until the next trajectory, whose first is the first."""
        with self._lock:
            (self._times, self._rows), self._problem = self._nothing, ""
            self._done_ns = 0

    def next(self, now_ns: int) -> tuple[DeltaCommand | None, str]:
        """The step to do now; None where there is none, and why if anybody should know."""
        with self._lock:
            if now_ns < self._then_ns:
                # The clock was set back: stamps begin anew.
                self._done_ns = 0
            self._then_ns = now_ns
            late_periods = 2.5 if self._playing else 1.5
            left = self._times > self._done_ns
            left &= self._times <= now_ns + self._period_ns // 2
            due = np.flatnonzero(left & (self._times > now_ns - late_periods * self._period_ns))
            self._playing = bool(len(due))
            if self._playing:
                self._done_ns = int(self._times[due[0]])
                return DeltaCommand(self._done_ns, self._rows[due[0]]), ""
            if left.any():
                age_s = (now_ns - int(self._times[left][-1])) * 1e-9
                return None, f"stale command: {age_s:.1f} s old"
            return None, self._problem
