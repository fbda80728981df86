"""The last thing between a command and the servos: no setpoint that is unsafe leaves it.

States: IDLE until the first command, TRACKING while commands come, HOLD when they stop or are
refused, STOPPED after a stop until a reset. Leaving TRACKING brakes within the acceleration limit;
once at rest nothing is written any more, and the servos keep their goal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np


class SafetyState(str, Enum):
    IDLE = "IDLE"
    TRACKING = "TRACKING"
    HOLD = "HOLD"
    STOPPED = "STOPPED"


@dataclass(frozen=True)
class SafetyLimits:
    """What the arm is allowed to do.

    Attributes:
        names: of the J joints.
        lower_rad, upper_rad: (J,) joint limits.
        velocity_rad_s: (J,) largest speed of a setpoint.
        acceleration_rad_s2: (J,) largest change of that speed per second.
        command_timeout_s: age from which a command counts for nothing.
        ramp_s: time over which the speed limit rises to its full value after IDLE.
        max_step_s: longest time that one step accounts for; after a stall of the loop the setpoint
            continues from where it was instead of jumping ahead.
    """

    names: tuple[str, ...]
    lower_rad: np.ndarray
    upper_rad: np.ndarray
    velocity_rad_s: np.ndarray
    acceleration_rad_s2: np.ndarray
    command_timeout_s: float = 0.2
    ramp_s: float = 1.0
    max_step_s: float = 0.03

    def __post_init__(self) -> None:
        joints = len(self.names)
        for name in ("lower_rad", "upper_rad", "velocity_rad_s", "acceleration_rad_s2"):
            values = np.array(getattr(self, name), dtype=float)
            if values.shape != (joints,) or not np.isfinite(values).all():
                raise ValueError(f"{name} is {values}; expected {joints} finite numbers")
            object.__setattr__(self, name, values)
        for name in ("velocity_rad_s", "acceleration_rad_s2"):
            if (getattr(self, name) <= 0).any():
                raise ValueError(f"{name} is {getattr(self, name)}; expected positive numbers")
        if (self.lower_rad >= self.upper_rad).any():
            raise ValueError(
                f"lower_rad {self.lower_rad} is not below upper_rad {self.upper_rad} everywhere"
            )


@dataclass(frozen=True)
class Command:
    """A target for now: (J,) radians, its velocity if known, and when it was made."""

    stamp_ns: int
    target_rad: np.ndarray
    velocity_rad_s: np.ndarray | None = None


@dataclass(frozen=True)
class Setpoint:
    """What to do now.

    Attributes:
        goal_rad: (J,) goals to write, or None: write nothing, so that the servos keep theirs.
        state: see the module.
        reason: why the arm does not follow, or what was changed; empty when it just follows.
    """

    goal_rad: np.ndarray | None
    state: SafetyState
    reason: str


class SafetyFilter:
    """Turns commands into setpoints that keep the limits. One step per control period.

    The setpoint starts from the pose that is given with the first step of TRACKING, wherever the
    last setpoint was: while the filter holds, something else may have moved the arm. A pose outside
    the joint limits is led back inside at no more than the allowed speed.
    """

    def __init__(self, limits: SafetyLimits) -> None:
        self._limits = limits
        self._still = np.zeros(len(limits.names))
        self.state = SafetyState.IDLE
        self.reason = "no command yet"
        self._position = self._velocity = self._still
        self._then_ns: int | None = None
        self._started_ns = 0
        self._ramping = True

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Of the arm, in the order of its setpoints."""
        return self._limits.names

    @property
    def moving(self) -> bool:
        """Whether the setpoint is on its way: TRACKING, or still braking."""
        return self.state is SafetyState.TRACKING or bool(self._velocity.any())

    def stop(self, reason: str) -> None:
        """Brake, and refuse every command until `reset`."""
        self.state, self.reason = SafetyState.STOPPED, reason

    def reset(self, reason: str = "no command yet") -> None:
        """Forget a stop, or that the arm was ever commanded: the next command starts slowly."""
        self.state, self.reason = SafetyState.IDLE, reason

    def freeze(self, reason: str) -> None:
        """HOLD at once, because nothing can be written; a stop remains a stop."""
        self._velocity = self._still
        self._then_ns = None
        if self.state is not SafetyState.STOPPED:
            self.state, self.reason = SafetyState.HOLD, reason
            self._ramping = True

    def step(
        self, now_ns: int, pose_rad: np.ndarray, command: Command | None, reason: str = ""
    ) -> Setpoint:
        """Return what to do at `now_ns`.

        Args:
            pose_rad: (J,) where the arm is held now; read only when the filter is not `moving`.
            command: the newest command, None where there is none.
            reason: why there is none.
        """
        elapsed_s = self._elapsed_s(now_ns)
        refusal = reason or "no command" if command is None else self._refusal(now_ns, command)
        if self.state is SafetyState.STOPPED:
            return self._brake(elapsed_s)
        if refusal:
            if self.state is SafetyState.TRACKING:
                self.state = SafetyState.HOLD
            # Without any command so far the reason stays as it is.
            if command is not None or reason or self.state is SafetyState.HOLD:
                self.reason = refusal
            return self._brake(elapsed_s)
        if self.state is not SafetyState.TRACKING:
            at_rest = not self._velocity.any()
            if not self._start(now_ns, pose_rad, at_rest):
                return Setpoint(None, self.state, self.reason)
            elapsed_s = 0.0 if at_rest else elapsed_s
        return self._track(now_ns, elapsed_s, command)

    def _elapsed_s(self, now_ns: int) -> float:
        then_ns = now_ns if self._then_ns is None else self._then_ns
        self._then_ns = now_ns
        return min(max(0.0, (now_ns - then_ns) * 1e-9), self._limits.max_step_s)

    def _refusal(self, now_ns: int, command: Command) -> str:
        """Why the command may not be followed; empty if it may."""
        for name, given in (("target", command.target_rad), ("velocity", command.velocity_rad_s)):
            if name == "velocity" and given is None:
                continue
            refusal = unusable(name, given, self._still.shape)
            if refusal:
                return refusal
        return outdated(now_ns, command.stamp_ns, self._limits.command_timeout_s)

    def _start(self, now_ns: int, pose_rad: np.ndarray, at_rest: bool) -> bool:
        """Begin to track, from rest or out of a braking; False where the pose is unusable."""
        if at_rest:
            pose = np.array(pose_rad, dtype=float)
            if pose.shape != self._still.shape or not np.isfinite(pose).all():
                self.reason = "the arm's pose is unknown"
                return False
            self._position = pose
        if self.state is SafetyState.IDLE:
            self._ramping = True
        if self._ramping:
            self._started_ns = now_ns
        self.state = SafetyState.TRACKING
        return True

    def _track(self, now_ns: int, elapsed_s: float, command: Command) -> Setpoint:
        limits = self._limits
        target = np.clip(command.target_rad, limits.lower_rad, limits.upper_rad)
        limited = target != command.target_rad
        self.reason = ""
        if limited.any():
            names = [limits.names[joint] for joint in np.flatnonzero(limited)]
            self.reason = f"at the joint limit: {', '.join(names)}"
        target_velocity = self._still
        if command.velocity_rad_s is not None:
            top = limits.velocity_rad_s
            target_velocity = np.where(limited, 0.0, np.clip(command.velocity_rad_s, -top, top))
        wanted = self._approach(elapsed_s, target, target_velocity)
        self._advance(elapsed_s, wanted, self._top_speed(now_ns))
        return Setpoint(self._position.copy(), self.state, self.reason)

    def _brake(self, elapsed_s: float) -> Setpoint:
        if not self._velocity.any():
            return Setpoint(None, self.state, self.reason)
        self._advance(elapsed_s, self._still, self._limits.velocity_rad_s)
        return Setpoint(self._position.copy(), self.state, self.reason)

    def _top_speed(self, now_ns: int) -> np.ndarray:
        """Speed limits now: rising from a tenth during the ramp."""
        share = 1.0
        if self._ramping and self._limits.ramp_s > 0:
            share = (now_ns - self._started_ns) * 1e-9 / self._limits.ramp_s
            self._ramping = share < 1.0
        return self._limits.velocity_rad_s * min(max(share, 0.1), 1.0)

    def _approach(
        self, elapsed_s: float, target: np.ndarray, target_velocity: np.ndarray
    ) -> np.ndarray:
        """Velocity that reaches a target, itself moving, without overshoot."""
        # In the frame that moves with the target: it was at target - velocity * elapsed when the
        # setpoint was where it is.
        distance = target - target_velocity * elapsed_s - self._position
        relative = np.sign(distance) * _stoppable_speed(
            np.abs(distance), self._limits.acceleration_rad_s2, elapsed_s
        )
        return target_velocity + relative

    def _advance(self, elapsed_s: float, wanted: np.ndarray, top_speed: np.ndarray) -> None:
        """One step towards the wanted velocity, within all limits.

        The bounds never contradict each other: as long as the last step left room to stop before
        the joint limit, braking with full acceleration does (`_stoppable_speed`).
        """
        limits = self._limits
        if elapsed_s == 0.0:
            return
        change = limits.acceleration_rad_s2 * elapsed_s
        room_up = _stoppable_speed(
            np.maximum(0.0, limits.upper_rad - self._position),
            limits.acceleration_rad_s2,
            elapsed_s,
        )
        room_down = _stoppable_speed(
            np.maximum(0.0, self._position - limits.lower_rad),
            limits.acceleration_rad_s2,
            elapsed_s,
        )
        velocity = np.clip(
            wanted, -np.minimum(top_speed, room_down), np.minimum(top_speed, room_up)
        )
        velocity = np.clip(velocity, self._velocity - change, self._velocity + change)
        self._position = self._position + velocity * elapsed_s
        self._velocity = velocity


def unusable(name: str, given: object, shape: tuple[int, ...]) -> str:
    """Why numbers of a command may not be followed; empty if they may."""
    values = np.asarray(given)
    if values.shape != shape:
        return f"command refused: {name} has shape {values.shape}, expected {shape}"
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        return f"command refused: {name} is not finite: {values}"
    return ""


def outdated(now_ns: int, stamp_ns: int, timeout_s: float) -> str:
    """Why a command of that stamp may not be followed now; empty if it may."""
    age_s = (now_ns - stamp_ns) * 1e-9
    if abs(age_s) <= timeout_s:
        return ""
    if age_s > 0:
        return f"stale command: {age_s:.1f} s old"
    return f"command refused: {-age_s:.1f} s in the future"


def _stoppable_speed(
    distance: np.ndarray, acceleration: np.ndarray, elapsed_s: float
) -> np.ndarray:
    """Largest speed for the next step after which braking ends within `distance` >= 0.

    Solves v t + v^2 / (2 a) = d. Steps that brake move by the speed they end with, so they never
    need more than the continuous v^2 / (2 a), however long they are.
    """
    step = acceleration * elapsed_s
    return np.sqrt(step * step + 2.0 * acceleration * distance) - step
