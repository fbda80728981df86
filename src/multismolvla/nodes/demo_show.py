"""What the demo shows of each world: a task, which cameras die and when, how long it waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from multismolvla.sim.libero.tasks import DEFAULT_TASK as LIBERO_TASK


@dataclass(frozen=True)
class Show:
    """What is shown of a world.

    Attributes:
        task: instruction by default.
        episodes: by default.
        cut: streams whose cameras die in the middle one.
        cut_after_s: since the instruction, while the arm moves.
        timeout_s: of an episode, since the instruction.
        ready_s: longest wait for the stack.
        arguments: of the launch file.
        simulated: times are the simulator's, which keeps the clock of this world.
    """

    task: str
    episodes: int
    cut: tuple[str, ...]
    cut_after_s: float
    timeout_s: float
    ready_s: float
    arguments: Mapping[str, str]
    simulated: bool


SHOWS = {
    "tabletop": Show(
        "put the red cube in the bin",
        episodes=5,
        cut=("rgb", "wrist/rgb"),
        cut_after_s=1.5,  # a clean episode takes 3 to 5 s
        timeout_s=45.0,
        ready_s=60.0,
        arguments={},
        simulated=False,
    ),
    "libero": Show(
        LIBERO_TASK,
        episodes=1,
        cut=("agentview/rgb",),
        cut_after_s=3.0,  # a clean episode takes 5 to 9 s
        timeout_s=28.0,  # twice the field's horizon: this world does not wait for the policy
        ready_s=240.0,
        arguments={"world": "libero"},
        simulated=True,
    ),
}
