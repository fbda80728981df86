"""Episodes in parallel processes, each with its own simulator, cameras and policies."""

from __future__ import annotations

import hashlib
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from multismolvla.evaluation.episode import run_episode
from multismolvla.evaluation.outcome import EpisodeKey, Outcome
from multismolvla.faults.conditions import Condition
from multismolvla.interfaces import Policy
from multismolvla.pictures.film import Clip
from multismolvla.pose_check.check import SIMULATION, find_weights
from multismolvla.stack.labeller import Segmenter, load_network
from multismolvla.stack.policy_loading import (
    TEACHER,
    committed_s,
    lerobot_options,
    load_policy,
    streams_of,
    without_digest,
)
from multismolvla.stack.settings import StackSettings
from multismolvla.stack.worlds import FAST, EpisodeLoop, find_world
from multismolvla.streams import StreamTable
from multismolvla.worker_pool import WorkerDied, results, start_worker

# As the launch argument `segmentation` names them.
SEGMENTATIONS = ("network", "ground_truth")


@dataclass(frozen=True)
class Job:
    """One episode to run."""

    key: EpisodeKey
    condition: Condition


@dataclass(frozen=True)
class PoolSettings:
    """What is the same for all episodes.

    Attributes:
        table: every stream of the robot; a policy gets those that it uses.
        stack: settings of the robot.
        all_streams: give every policy all of them, so that the detector is tested with any policy.
        segmentation: where labels come from, one of `SEGMENTATIONS`.
        pose_check: weights of the pose check; see `find_weights`.
        clips: folder for clips of failures, None for none.
        world: name of the world, `stack.worlds`.
        rendering: of its cameras, one of `RENDERINGS`.
    """

    table: StreamTable
    stack: StackSettings = field(default_factory=StackSettings)
    device: str = "cpu"
    all_streams: bool = False
    segmentation: str = "network"
    pose_check: str = SIMULATION
    clips: Path | None = None
    world: str = "tabletop"
    rendering: str = FAST


class PoolError(RuntimeError):
    """The episodes cannot continue; one line."""


def clip_file(folder: Path, key: EpisodeKey) -> Path:
    """Where the clip of an episode is kept."""
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    return folder / f"{name}.mp4"


class EpisodeWorker:
    """Runs jobs one by one; keeps what was loaded for the last of them."""

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self._world = find_world(settings.world)
        self._policies: dict[tuple, tuple[Policy, tuple[str, ...]]] = {}
        self._loops: dict[tuple[str, ...], EpisodeLoop] = {}

    def run(self, job: Job) -> Outcome:
        """Run one episode; a failure leaves a clip.

        Raises:
            ValueError: the policy, the task or the condition does not exist.
        """
        settings = self._settings
        policy, streams = self._policy(job.key)
        if settings.all_streams:
            streams = settings.table.names
        loop = self._loop(streams)
        clip = None
        if settings.clips is not None and streams:
            clip = Clip(loop.table)
        outcome = run_episode(loop, policy, job.key, job.condition, clip)
        if clip is not None and not outcome.success:
            clip.write(clip_file(settings.clips, job.key))
        return outcome

    def _loop(self, streams: tuple[str, ...]) -> EpisodeLoop:
        settings = self._settings
        if streams not in self._loops:
            seen = StreamTable(tuple(s for s in settings.table if s.name in streams))
            self._loops[streams] = self._world.make_loop(
                seen,
                settings.stack,
                self._segmenter(seen),
                find_weights(settings.pose_check),
                settings.rendering,
            )
        return self._loops[streams]

    def _segmenter(self, table: StreamTable) -> Segmenter | None:
        if self._settings.segmentation == "ground_truth":
            return None
        if not any(stream.derived_from for stream in table):
            return None
        return load_network(self._settings.stack.labeller.model or self._settings.world)

    def _policy(self, key: EpisodeKey) -> tuple[Policy, tuple[str, ...]]:
        name = without_digest(key.policy)
        ahead_s = committed_s(key.latency_s, waits=key.execution == "synchronous")
        # A checkpoint, which has a digest, is large and does not plan with the time; a class may.
        wanted = name, key.noise_scale, None if key.policy != name else ahead_s
        if wanted not in self._policies:
            policy = load_policy(
                name,
                self._world.embodiment,
                device=self._settings.device,
                threads=1,
                seed=0,
                noise_scale=key.noise_scale,
                committed_s=ahead_s,
                **lerobot_options(self._settings.stack.policy),
                # The teacher looks at no stream, and reads the loop's own world.
                world=getattr(self._loop(()), "world", None) if name == TEACHER else None,
            )
            self._policies[wanted] = policy, streams_of(policy, self._settings.table, name)
        return self._policies[wanted]


def run_jobs(jobs: Sequence[Job], settings: PoolSettings, workers: int) -> Iterator[Outcome]:
    """Yield outcomes as they come, in any order.

    Raises:
        PoolError: a worker died.
        ValueError: a policy, a task or a condition does not exist.
    """
    if workers == 1:
        worker = EpisodeWorker(settings)
        yield from (worker.run(job) for job in jobs)
        return
    try:
        yield from results(deque(jobs), _run, workers, _start, (settings,))
    except WorkerDied as error:
        raise PoolError(
            f"{error}; what is done is kept: run the same command again, perhaps with fewer "
            "--workers"
        ) from None


_worker: EpisodeWorker | None = None


def _start(settings: PoolSettings) -> None:
    global _worker
    # Ctrl-C reaches every process of the terminal; a worker just ends.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    start_worker()
    cv2.setNumThreads(1)
    _worker = EpisodeWorker(settings)


def _run(job: Job) -> Outcome:
    return _worker.run(job)
