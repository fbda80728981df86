"""One recorded episode in LIBERO: the teacher's labels in states that noise or a learner made."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from multismolvla.data.episode import Episode
from multismolvla.data.view_camera import camera_meta
from multismolvla.embodiment.panda import PANDA, PERIOD_S
from multismolvla.interfaces import Observation
from multismolvla.modalities.conversion import condition, from_counts, to_counts
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.libero.cameras import CAMERAS, libero_cameras
from multismolvla.sim.libero.subgoal import SUBGOAL
from multismolvla.sim.libero.teacher import Plan, Teacher, imagine
from multismolvla.sim.libero.world import LiberoWorld
from multismolvla.streams import StreamTable
from multismolvla.training.demonstrations.demonstration import UNDISTURBED_SHARE, Learner

PERIOD_NS = round(PERIOD_S * 1e9)
# Rows of a label: what the teacher would do from there for a second.
CHUNK_ROWS = 20
# A learner's chunk, or the teacher's own, is followed for so many steps.
FOLLOWED_STEPS = (3, 8)
# At a scale of 1: standard deviation of the wandering offset of each action, and how long it lasts.
DEVIATION = np.array([0.5, 0.5, 0.5, 0.15, 0.15, 0.3])
CORRELATION_S = 0.4
# Now and then the gripper does the opposite for a moment: drops something, or closes on nothing.
FUMBLES_PER_S, FUMBLE_S = 0.08, 0.3


class Disturbance:
    """What is added to the teacher's actions, so that the data have recoveries (DART, Laskey 2017).

    A scale of 0 adds nothing.
    """

    def __init__(self, rng: np.random.Generator, scale: float) -> None:
        self._rng, self._scale = rng, scale
        self._keep = math.exp(-PERIOD_S / CORRELATION_S)
        self._offset = np.zeros(len(DEVIATION))
        self._fumbles = 0

    def add_to(self, action: np.ndarray) -> np.ndarray:
        """The action (7,) that is executed instead."""
        spread = math.sqrt(1.0 - self._keep**2) * DEVIATION
        self._offset = self._keep * self._offset + spread * self._rng.standard_normal(6)
        fumbles = self._rng.random() < FUMBLES_PER_S * PERIOD_S * self._scale
        self._fumbles = round(FUMBLE_S / PERIOD_S) if fumbles else max(0, self._fumbles - 1)
        executed = action.copy()
        executed[:6] += self._scale * self._offset
        if self._fumbles:
            executed[6] = -executed[6]
        return np.clip(executed, -1.0, 1.0)


class LiberoRecorder:
    """Records episodes one after the other, in places that are none of the official ones.

    Args:
        table: stream table; streams: names of those to record, none to render nothing.
        learner: drives instead of the teacher; the labels stay the teacher's.
        frames_every: steps from one set of frames, and label, to the next.
    """

    def __init__(
        self,
        table: StreamTable,
        streams: Sequence[str],
        learner: Learner | None = None,
        frames_every: int = 3,
    ) -> None:
        self._table, self._streams, self._learner = table, tuple(streams), learner
        self._every = frames_every
        self._world = LiberoWorld()
        self._teacher = Teacher(self._world)
        self._cameras: Cameras | None = None
        self._seen: mujoco.MjData | None = None
        self._model: mujoco.MjModel | None = None

    def close(self) -> None:
        """Release the renderer."""
        if self._cameras is not None:
            self._cameras.close()
        self._cameras = None

    def record(
        self, task: str, seed: int, noise: float, meta: Mapping[str, str | int | float]
    ) -> Episode:
        """Run one episode until success or the suite's horizon.

        Args:
            noise: greatest scale of the disturbance; the episode's own is drawn from its seed.
            meta: added to the metadata of the episode.
        """
        world, teacher = self._world, self._teacher
        world.reset(task, seed)
        teacher.reset()
        self._open_cameras(seed)
        rng = np.random.default_rng([seed, *world.task.id.encode(), 1])
        scale = 0.0 if rng.random() < UNDISTURBED_SHARE else noise * rng.random()
        disturbance = Disturbance(rng, scale)
        if self._learner is not None:
            self._learner.policy.reset()
        rows: dict[str, list] = defaultdict(list)
        frames: dict[str, list[np.ndarray]] = defaultdict(list)
        driven, driven_row, change_at = None, 0, 0
        success = False
        while not success and len(rows["state"]) < world.task.horizon:
            row, state = len(rows["state"]), world.state()
            position, rotation = world.gripper_pose()
            if row % self._every == 0:
                self._look(frames)
                plan, fingers = teacher.plan(), state[6:8]
                velocity = world.gripper_velocity()
                chunk = imagine(plan, position, rotation, velocity, fingers, CHUNK_ROWS)
                rows["chunk"].append(chunk.astype(np.float32))
                rows["chunk_index"].append(row)
                if self._learner is not None and row >= change_at:
                    driven, driven_row = None, row
                    if rng.random() >= self._learner.expert_share:
                        driven = self._learners_chunk(row, state, plan, frames, rng)
                    change_at = row + int(rng.integers(*FOLLOWED_STEPS, endpoint=True))
            action = chunk[row % self._every]
            follows = driven is not None and row - driven_row < len(driven)
            executed = disturbance.add_to(driven[row - driven_row] if follows else action)
            rows["state"].append(state)
            rows["action"].append(action)
            rows["executed"].append(executed)
            for name in SUBGOAL:
                rows[name].append(getattr(plan, name))
            world.step(executed)
            success = world.success()
        source = "expert" if self._learner is None else f"dagger:{self._learner.source}"
        described = {
            "task": world.task.id,
            "seed": seed,
            "place": world.place,
            "noise": scale,
            "source": source,
            **self._view_cameras(),
        }
        index = np.array(rows["chunk_index"], np.int64)
        return Episode(
            instruction=world.task.instruction,
            joints=PANDA.state_names,
            stamps_ns=np.arange(len(rows["state"]), dtype=np.int64) * PERIOD_NS,
            state=np.array(rows["state"]),
            action=np.array(rows["action"]),
            executed=np.array(rows["executed"]),
            frames={name: np.stack(taken) for name, taken in frames.items()},
            frame_index=dict.fromkeys(frames, index),
            masks={name: np.ones(len(index), bool) for name in frames},
            object_poses={name: np.array(rows[name]) for name in SUBGOAL},
            success=success,
            meta=described | dict(meta),
            chunks=np.array(rows["chunk"]),
            chunk_index=index,
            action_space=PANDA.action,
        )

    def _open_cameras(self, seed: int) -> None:
        """Cameras of the loaded scene: another task has another model."""
        if not self._streams:
            return
        if self._world.model is not self._model:
            self.close()
            self._model = self._world.model
            self._cameras = libero_cameras(self._world, self._table)
            self._seen = mujoco.MjData(self._model)
        self._cameras.reseed(seed)

    def _look(self, frames: dict[str, list[np.ndarray]]) -> None:
        if self._cameras is None:
            return
        self._world.snapshot(self._seen)
        raw = self._cameras.render(self._seen, self._streams, self._world.steps * PERIOD_S)
        for name, frame in raw.items():
            stream = self._table[name]
            conditioned = condition(stream.modality, frame, stream.height, stream.width)
            frames[name].append(to_counts(stream.modality, conditioned))

    def _learners_chunk(
        self,
        row: int,
        state: np.ndarray,
        plan: Plan,
        frames: Mapping[str, list[np.ndarray]],
        rng: np.random.Generator,
    ) -> np.ndarray:
        """The learner's actions from here, without the streams that are dropped."""
        task, stamp_ns = self._world.task.instruction, row * PERIOD_NS
        if self._learner.privileged:
            poses = {name: getattr(plan, name) for name in SUBGOAL}
            return self._learner.policy.infer(
                Observation(stamp_ns, {}, {}, state, task, poses)
            ).actions
        available = rng.random(len(self._streams)) >= self._learner.stream_loss
        if not available.any():
            available[rng.integers(len(available))] = True
        mask = dict(zip(self._streams, available.tolist(), strict=True))
        seen = {
            name: from_counts(self._table[name].modality, frames[name][-1]) if usable else None
            for name, usable in mask.items()
        }
        return self._learner.policy.infer(Observation(stamp_ns, seen, mask, state, task)).actions

    def _view_cameras(self) -> dict[str, str]:
        """Where the cameras are: the wrist's in the frame of the gripper."""
        world, meta = self._world, {}
        place, turn = PANDA.kinematics.forward(world.state())
        for view, name in CAMERAS.items():
            camera = world.data.camera(name)
            position, rotation = camera.xpos.copy(), camera.xmat.reshape(3, 3).copy()
            on_gripper = view == "wrist"
            if on_gripper:
                position, rotation = turn.T @ (position - place), turn.T @ rotation
            quaternion = np.empty(4)
            mujoco.mju_mat2Quat(quaternion, rotation.ravel())
            fovy = float(world.model.camera(name).fovy[0])
            meta |= camera_meta(view, [fovy, 1.0, float(on_gripper), *position, *quaternion])
        return meta
