"""One recorded episode in the simulator: who drives, what disturbs, what the expert would do."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import mujoco
import numpy as np

from multismolvla.data.bag import PERIOD_NS
from multismolvla.data.episode import Episode
from multismolvla.interfaces import Observation, Policy
from multismolvla.modalities.conversion import condition, from_counts, to_counts
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.expert_policy import ExpertPolicy
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import DEFAULT_MAX_STEPS, STEP_S, find_task
from multismolvla.streams import StreamTable

# Disturbances of the arm in demonstrations, so that the data contains recoveries.
#
# Noise in the executed actions, not in the labels, as in DART (Laskey et al. 2017).

# At a scale of 1. 0.05 rad in the shoulder moves the fingers by 15 mm, half an object's width.
DEVIATION_RAD = np.array([0.05, 0.05, 0.05, 0.06, 0.10, 0.06])
CORRELATION_S = 0.4
PUSH_RAD = np.array([0.25, 0.20, 0.20, 0.25, 0.40, 0.25])
PUSHES_PER_S = 0.2
PUSH_S = 0.5


class Disturbance:
    """A wandering offset per joint (Ornstein-Uhlenbeck), and now and then a push that comes and
    goes within half a second. A scale of 0 gives zeros."""

    def __init__(self, rng: np.random.Generator, scale: float, period_s: float) -> None:
        self._rng = rng
        self._scale = scale
        self._period_s = period_s
        self._keep = math.exp(-period_s / CORRELATION_S)
        # Starts at rest: the arm is at home when an episode begins.
        self._offset = np.zeros_like(DEVIATION_RAD)
        self._push = np.zeros_like(DEVIATION_RAD)
        self._push_age_s = math.inf

    def step(self) -> np.ndarray:
        """(6,) radians to add to the next action."""
        # Draws what it draws at every scale, so that a seed means the same pushes.
        spread = math.sqrt(1.0 - self._keep**2) * DEVIATION_RAD
        self._offset = self._keep * self._offset + spread * self._rng.standard_normal(6)
        self._push_age_s += self._period_s
        if self._rng.random() < PUSHES_PER_S * self._period_s and self._push_age_s > PUSH_S:
            direction = self._rng.standard_normal(len(PUSH_RAD))
            self._push = PUSH_RAD * direction / np.linalg.norm(direction)
            self._push_age_s = 0.0
        swell = 0.0
        if self._push_age_s < PUSH_S:
            swell = math.sin(math.pi * self._push_age_s / PUSH_S) ** 2
        return self._scale * (self._offset + swell * self._push)


# A chunk is executed for this many steps, then the next one is requested: as with inference that
# takes a while.
FOLLOWED_STEPS = (4, 16)
# Share of episodes without noise: the learner should know undisturbed motion best.
UNDISTURBED_SHARE = 0.25


@dataclass(frozen=True)
class Learner:
    """A policy whose own states are wanted, labelled by the expert (DAgger, Ross et al. 2011).

    Attributes:
        policy: the learner.
        source: where it came from, for the record.
        expert_share: share of the followed chunks that are the expert's, so that episodes get on.
        stream_loss: probability that the learner does without a stream while it follows a chunk.
        privileged: the learner reads object poses from the simulator instead of frames.
    """

    policy: Policy
    source: str
    expert_share: float = 0.3
    stream_loss: float = 0.0
    privileged: bool = False


@dataclass
class _Rows:
    """What grows while an episode runs."""

    state: list[np.ndarray] = field(default_factory=list)
    action: list[np.ndarray] = field(default_factory=list)
    executed: list[np.ndarray] = field(default_factory=list)
    poses: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    chunks: list[np.ndarray] = field(default_factory=list)
    chunk_index: list[int] = field(default_factory=list)
    frames: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))


class DemonstrationRecorder:
    """Records episodes one after the other; rendering belongs to the thread that records.

    The expert plans without memory at every camera frame (without streams: at the instants of such
    frames) from the measured state. Its chunk is the label of that frame, and every few steps the
    new path to follow.

    Args:
        table: stream table.
        streams: names of the streams to record; without any nothing is rendered.
        learner: drives instead of the expert; the labels stay the expert's.

    Raises:
        ValueError: the learner needs frames and there are none; one line.
    """

    def __init__(
        self, table: StreamTable, streams: Sequence[str], learner: Learner | None = None
    ) -> None:
        if learner is not None and not (streams or learner.privileged):
            raise ValueError(
                f"{learner.source} needs frames, but no stream is recorded: name streams, or use "
                "a privileged learner"
            )
        self._table = table
        self._streams = tuple(streams)
        self._learner = learner
        self._simulation = Simulation()
        self._cameras = Cameras(self._simulation.model, table) if self._streams else None
        self._view = mujoco.MjData(self._simulation.model)
        rate_hz = max(table[name].rate_hz for name in self._streams or table.names)
        self._frame_every = max(1, round(1.0 / (rate_hz * STEP_S)))

    def close(self) -> None:
        """Release the renderer."""
        if self._cameras is not None:
            self._cameras.close()

    def record(
        self,
        task_id: str,
        seed: int,
        noise: float,
        meta: Mapping[str, str | int | float] | None = None,
        max_steps: int | None = None,
    ) -> Episode:
        """Run one episode until success or the suite's time limit.

        Args:
            noise: greatest scale of the disturbance; the episode's own is drawn from its seed.
            meta: added to the metadata of the episode.
        """
        task = find_task(task_id)
        self._simulation.reset(task, seed)
        if self._cameras is not None:
            self._cameras.reseed(seed)
        rng = np.random.default_rng([seed, *task.id.encode(), 1])
        scale = 0.0 if rng.random() < UNDISTURBED_SHARE else noise * rng.random()
        disturbance = Disturbance(rng, scale, STEP_S)
        expert = ExpertPolicy(committed_s=0)
        if self._learner is not None:
            self._learner.policy.reset()
        rows = _Rows()
        limit = max_steps or DEFAULT_MAX_STEPS[task.suite]
        way, way_row, change_at = None, 0, 0
        success = False
        while not success and len(rows.state) < limit:
            row = len(rows.state)
            state = self._simulation.servos.positions_rad()
            poses = self._simulation.object_poses()
            if row % self._frame_every == 0:
                self._take_frames(rows)
                observation = Observation(row * PERIOD_NS, {}, {}, state, task.instruction, poses)
                label = expert.infer(observation).actions
                rows.chunks.append(label.astype(np.float32))
                rows.chunk_index.append(row)
                if row >= change_at:
                    way = driven = label
                    if self._learner is not None and rng.random() >= self._learner.expert_share:
                        driven = self._learners_chunk(observation, rows, rng)
                    way_row = row
                    change_at = row + int(rng.integers(*FOLLOWED_STEPS, endpoint=True))
            ahead = row - way_row + 1
            arm = self._simulation.embodiment
            action = way[min(ahead, len(way) - 1)]
            executed = driven[min(ahead, len(driven) - 1)] + disturbance.step()
            executed = np.clip(executed, arm.lower_rad, arm.upper_rad)
            rows.state.append(state)
            rows.action.append(action)
            rows.executed.append(executed)
            rows.poses.append(poses)
            for joint, goal in enumerate(executed):
                self._simulation.servos.set_goal_rad(joint, goal)
            self._simulation.advance(STEP_S)
            success = self._simulation.success()
        source = "expert" if self._learner is None else f"dagger:{self._learner.source}"
        described = {"task": task.id, "seed": seed, "noise": scale, "source": source}
        return self._episode(rows, task.instruction, success, described | dict(meta or {}))

    def _take_frames(self, rows: _Rows) -> None:
        if self._cameras is None:
            return
        self._simulation.snapshot(self._view)
        raw = self._cameras.render(self._view, self._streams, self._simulation.time_s)
        for name, frame in raw.items():
            stream = self._table[name]
            conditioned = condition(stream.modality, frame, stream.height, stream.width)
            rows.frames[name].append(to_counts(stream.modality, conditioned))

    def _learners_chunk(
        self, exact: Observation, rows: _Rows, rng: np.random.Generator
    ) -> np.ndarray:
        """The learner's chunk for the recorded frames, without the streams that are dropped."""
        if self._learner.privileged:
            return self._learner.policy.infer(exact).actions
        available = rng.random(len(self._streams)) >= self._learner.stream_loss
        if not available.any():
            available[rng.integers(len(available))] = True
        mask = dict(zip(self._streams, available.tolist(), strict=True))
        frames = {
            name: from_counts(self._table[name].modality, rows.frames[name][-1]) if usable else None
            for name, usable in mask.items()
        }
        seen = Observation(exact.stamp_ns, frames, mask, exact.state, exact.task)
        return self._learner.policy.infer(seen).actions

    def _episode(
        self, rows: _Rows, instruction: str, success: bool, meta: Mapping[str, str | int | float]
    ) -> Episode:
        index = np.array(rows.chunk_index, np.int64)
        return Episode(
            instruction=instruction,
            joints=self._simulation.embodiment.joint_names,
            stamps_ns=np.arange(len(rows.state), dtype=np.int64) * PERIOD_NS,
            state=np.array(rows.state),
            action=np.array(rows.action),
            executed=np.array(rows.executed),
            frames={name: np.stack(frames) for name, frames in rows.frames.items()},
            frame_index=dict.fromkeys(rows.frames, index),
            masks={name: np.ones(len(index), bool) for name in rows.frames},
            object_poses={
                name: np.array([poses[name] for poses in rows.poses]) for name in rows.poses[0]
            },
            success=success,
            meta=meta,
            chunks=np.array(rows.chunks),
            chunk_index=index,
        )
