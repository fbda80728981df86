"""A simulated robot that is commanded by steps and does not wait: LIBERO over ROS.

What `SteppedLoop` is for an evaluation, without the policy: commands come as trajectories, whenever
they come, and go through the safety stage of the arm. On an explicit clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from multismolvla.control.delta_safety import DeltaFilter, DeltaLimits, StepPlayer
from multismolvla.control.safety import SafetyState
from multismolvla.control.trajectory import Trajectory
from multismolvla.embodiment.description import ActionSpace, Embodiment
from multismolvla.stack.worlds import Task


class SteppedWorld(Protocol):
    """A simulator that takes an action per period; `sim.libero.scene.LiberoScene` is one.

    One thread calls everything but `find` and `intrinsics`.

    Attributes:
        embodiment: its arm, which has an action space of steps.
    """

    embodiment: Embodiment

    def find(self, text: str) -> Task:
        """The task with this id or instruction; raises ValueError for none."""
        ...

    def begin(self, task: Task, seed: int) -> None:
        """Begin an episode; raises ValueError where there is no such place."""
        ...

    def step(self, action: np.ndarray) -> None:
        """Simulate a period of the arm with an action (A,)."""
        ...

    def state(self) -> np.ndarray:
        """(S,) what the policy is shown of the arm."""
        ...

    def success(self) -> bool:
        """Whether the goal is reached now."""
        ...

    def look(self, names: Sequence[str], time_s: float) -> dict[str, np.ndarray]:
        """One raw frame per stream named, in units; see `sim.cameras.Cameras.render`."""
        ...

    def intrinsics(self, name: str) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy of a stream, pixels."""
        ...

    def close(self) -> None:
        """Release the renderer; from any thread."""
        ...


def delta_limits(space: ActionSpace) -> DeltaLimits:
    """What a simulated arm is allowed to do: the field's policies may turn round at once."""
    return DeltaLimits(space, change=2.0)


class SteppedRobot:
    """A world with its arm's safety stage. `follow` and `refuse` are for any thread.

    Attributes:
        task, seed: of the running episode.
        steps: taken since it began.
        solved: the goal was reached in it, if only for one step, as the field judges.
    """

    def __init__(self, world: SteppedWorld, task: Task, seed: int) -> None:
        """Begin an episode.

        Raises:
            ValueError: see `SteppedWorld.begin`.
        """
        space = world.embodiment.action_space
        self.world, self.period_s = world, space.period_s
        self._player, self._filter = StepPlayer(space), DeltaFilter(delta_limits(space))
        self.begin(task, seed)

    @property
    def arm(self) -> tuple[SafetyState, str]:
        """State of the safety stage, and why it does not follow or what it has changed."""
        return self._filter.state, self._filter.reason

    @property
    def time_s(self) -> float:
        """Simulated time since the episode began."""
        return self.steps * self.period_s

    def follow(self, trajectory: Trajectory) -> None:
        """Take the steps from here from now on."""
        self._player.follow(trajectory)

    def refuse(self, problem: str) -> None:
        """Hold still until the next trajectory, for this reason."""
        self._player.refuse(problem)

    def begin(self, task: Task, seed: int) -> None:
        """Begin an episode; no command from before it counts in it."""
        self.world.begin(task, seed)
        self.task, self.seed = task, seed
        self.steps, self.solved = 0, False
        self._player.forget()
        self._filter.reset()

    def step(self, now_ns: int) -> None:
        """Do the step that is due, or hold still for a period."""
        self.world.step(self._filter.step(now_ns, *self._player.next(now_ns)).action)
        self.steps += 1
        self.solved = self.solved or self.world.success()
