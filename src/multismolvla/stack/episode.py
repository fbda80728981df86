"""An episode of the closed loop: what happens in it, what observers see of it, how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from multismolvla.control.safety import Command, Setpoint
from multismolvla.faults.delivery_queue import FaultSchedule
from multismolvla.robot.so101 import ArmState
from multismolvla.stack.policy_runner import PolicyRunner


@dataclass(frozen=True)
class Episode:
    """What happens to the robot, whatever drives it.

    Attributes:
        task, seed: of the scene.
        faults: stream -> its faults, on the clock of the loop.
        oracle: streams are masked exactly while a fault of theirs lasts, not by their health.
        latency_s: simulated duration of an inference.
        dropped_share: see `DelayedInference`.
        lasts_s: minimum duration of the episode, seconds from the instruction.
    """

    task: str
    seed: int
    faults: Mapping[str, FaultSchedule] = field(default_factory=dict)
    oracle: bool = False
    latency_s: float = 0.1
    dropped_share: float | None = None
    lasts_s: float = 0.0


@dataclass(frozen=True)
class Moment:
    """What holds in one control period, `since_s` seconds after the instruction.

    Attributes:
        available: stream -> whether it is in use.
        states: stream -> name of its health's state.
        damaged: streams that are damaged, themselves or all that they are made from.
        joints_known: joint states are fresh enough for the arm to move.
        holds: nothing may be executed.
    """

    since_s: float
    available: Mapping[str, bool]
    states: Mapping[str, str]
    damaged: set[str]
    joints_known: bool
    holds: bool


class Observer(Protocol):
    """Sees an episode as it goes, and changes nothing."""

    def on_moment(self, moment: Moment) -> None:
        """Take in a control period after the instruction."""
        ...

    def on_state(self, state: ArmState) -> None:
        """Take in a reading of the arm, one per period of the driver."""
        ...

    def on_setpoint(self, command: Command | None, setpoint: Setpoint) -> None:
        """Take in what was commanded and what the safety filter made of it."""
        ...


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


@dataclass(frozen=True)
class Ended:
    """How an episode ended.

    Attributes:
        success: every goal of the task was reached in time.
        duration_s: from the instruction to success, or to the time limit.
        policy: the runner, for what it has counted.
    """

    success: bool
    duration_s: float
    policy: PolicyRunner
