"""The simulated worlds, as data: their tasks, arm, settings, and how an episode of each runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from multismolvla.embodiment.description import Embodiment
from multismolvla.embodiment.panda import PANDA
from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import Policy
from multismolvla.pose_check.weights import StreamWeights
from multismolvla.sim.libero import plus
from multismolvla.sim.libero import tasks as libero
from multismolvla.sim.tasks import TASKS, find_task
from multismolvla.stack.episode import Ended, Episode, Observer, Spectator
from multismolvla.stack.labeller import Segmenter
from multismolvla.stack.settings import PolicySettings, StackSettings
from multismolvla.streams import StreamTable

FAST, OFFICIAL = "fast", "official"
RENDERINGS = (FAST, OFFICIAL)


class Task(Protocol):
    """What an evaluation needs to know of a task."""

    id: str
    suite: str
    instruction: str


class Listed(Protocol):
    """One episode of a list that somebody else made; its condition as in `faults.conditions`."""

    task: Task
    condition: str
    seed: int


class EpisodeLoop(Protocol):
    """Runs episodes one after the other: `ClosedLoop`, `SteppedLoop`."""

    table: StreamTable
    settings: StackSettings
    embodiment: Embodiment
    # Which of `WORLDS` it runs.
    world_name: str
    # When the instruction is given, on the clock of the loop.
    instruction_ns: int

    def run(
        self,
        policy: Policy,
        episode: Episode,
        settings: PolicySettings | None = None,
        observers: Sequence[Observer] = (),
        spectator: Spectator | None = None,
    ) -> Ended:
        """Run one episode."""
        ...


@dataclass(frozen=True)
class World:
    """One simulated world.

    Attributes:
        config: folder of its settings and stream table within `config/`, "" for that itself.
        policy: evaluated by default.
        tasks: of all its tasks; `find`, of an id or instruction, raises ValueError.
        first_seed: of an evaluation; no scene from there on is trained on.
        episodes: per task, and `quick_episodes` with `--quick`.
        middle_s: when a loss in the middle of an episode may begin, seconds after the instruction.
        pose_check: weights of the pose check by default, see `find_weights`.
        latency_s: simulated duration of an inference by default.
        make_loop: of table, settings, segmenter, weights of the pose check and a rendering.
        lists: of episodes that somebody else chose, by the name of the list.
    """

    name: str
    embodiment: Embodiment
    config: str
    policy: str
    tasks: Callable[[], Sequence[Task]]
    find: Callable[[str], Task]
    first_seed: int
    episodes: int
    quick_episodes: int
    middle_s: tuple[float, float]
    pose_check: str
    latency_s: float
    make_loop: Callable[
        [StreamTable, StackSettings, Segmenter | None, Mapping[str, StreamWeights] | None, str],
        EpisodeLoop,
    ]
    lists: Mapping[str, Callable[[], Sequence[Listed]]] = field(default_factory=dict)


def _closed_loop(table: StreamTable, settings: StackSettings, *rest: Any) -> EpisodeLoop:
    from multismolvla.stack.closed_loop import ClosedLoop

    segmenter, pose_check, rendering = rest
    if rendering != FAST:
        raise ValueError(f"the tabletop has no rendering '{rendering}'; expected '{FAST}'")
    return ClosedLoop(table, settings, segmenter, pose_check)


def _stepped_loop(table: StreamTable, settings: StackSettings, *rest: Any) -> EpisodeLoop:
    from multismolvla.stack.stepped_loop import SteppedLoop

    segmenter, pose_check, rendering = rest
    return SteppedLoop(table, settings, segmenter, pose_check, rendering == OFFICIAL)


WORLDS: dict[str, World] = {
    "tabletop": World(
        "tabletop",
        SO101,
        config="",
        policy="small",
        tasks=lambda: TASKS,
        find=find_task,
        first_seed=1_000_000,
        episodes=20,
        quick_episodes=3,
        # The arm is on its way then, and even the expert, who needs 3 s, is not done.
        middle_s=(0.8, 2.4),
        pose_check="simulation",
        latency_s=0.1,
        make_loop=_closed_loop,
    ),
    # Seeds from 0 are the official places, episode k in place k, and the world waits: the protocol
    # of the field.
    "libero": World(
        "libero",
        PANDA,
        config="libero",
        policy="small-libero",
        tasks=libero.libero_tasks,
        find=libero.find_libero_task,
        first_seed=0,
        episodes=10,
        quick_episodes=1,
        # The teacher needs 5 to 9 s.
        middle_s=(1.5, 4.0),
        pose_check="none",
        latency_s=0.0,
        make_loop=_stepped_loop,
        lists={plus.SENSOR_NOISE: plus.sensor_noise_episodes},
    ),
}


def find_world(name: str) -> World:
    """
    Raises:
        ValueError: there is no such world.
    """
    if name not in WORLDS:
        raise ValueError(f"world is '{name}'; expected {' or '.join(WORLDS)}")
    return WORLDS[name]
