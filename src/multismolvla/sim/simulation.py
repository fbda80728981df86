"""The simulated tabletop: physics, servos, objects and the verdict on the task."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import mujoco
import numpy as np

from multismolvla.embodiment.so101 import SO101
from multismolvla.sim.goals import Goal, Scene
from multismolvla.sim.layout import SHAPES
from multismolvla.sim.servo import Servos
from multismolvla.sim.tasks import DEFAULT_TASK_ID, Task, find_task

SCENE_FILE = Path(__file__).parent / "assets" / "scene.xml"
# Steps taken under one hold of the lock, 8 ms of simulated time: a servo bus waits under 1 ms.
STEPS_PER_HOLD = 5


class Simulation:
    """MuJoCo model and state behind one lock.

    One thread calls `advance` and `reset`; any thread may use `servos`, read the state and take
    snapshots. `lock` is re-entrant; hold it only to read several things of one instant.
    """

    embodiment = SO101

    def __init__(self, seed: int = 0) -> None:
        self.lock = threading.RLock()
        self.model = mujoco.MjModel.from_xml_path(str(SCENE_FILE))
        self._data = mujoco.MjData(self.model)
        self.servos = Servos(self.model, self._data, self.lock)
        self._objects = {name: self.model.body(name).id for name in SHAPES}
        arm = self.model.body("base_link").id
        self._arm_geoms = {
            geom
            for geom in range(self.model.ngeom)
            if self.model.body_rootid[self.model.geom_bodyid[geom]] == arm
        }
        self._steps = 0
        self._remainder_s = 0.0
        self.reset(DEFAULT_TASK_ID, seed)

    def reset(self, task: str | Task, seed: int) -> None:
        """Start an episode: arm at HOME, objects at the task's poses for `seed`, time at zero.

        Raises:
            ValueError: there is no such task.
        """
        task = find_task(task) if isinstance(task, str) else task
        poses = task.place(seed)
        with self.lock:
            mujoco.mj_resetData(self.model, self._data)
            for name, pose in poses.items():
                self._data.joint(name).qpos = pose
            self.servos.teleport(self.embodiment.home_rad)
            mujoco.mj_forward(self.model, self._data)
            self._task, self._goals = task, task.bind(poses)
            self._steps, self._remainder_s = 0, 0.0

    def advance(self, duration_s: float) -> None:
        """Simulate `duration_s`; what does not fill a time step is kept for the next call."""
        timestep = self.model.opt.timestep
        self._remainder_s += duration_s
        # The tolerance keeps 0.3 s at 180 steps in spite of rounding.
        steps = int(self._remainder_s / timestep + 1e-6)
        self._remainder_s -= steps * timestep
        while steps > 0:
            batch = min(steps, STEPS_PER_HOLD)
            with self.lock:
                mujoco.mj_step(self.model, self._data, nstep=batch)
                self._steps += batch
            steps -= batch
        self.servos.heat(duration_s)

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset, seconds."""
        return self._steps * self.model.opt.timestep

    @property
    def task(self) -> Task:
        """The task of the running episode."""
        return self._task

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The task's goals with the objects that it meant at reset."""
        return self._goals

    def object_poses(self) -> dict[str, np.ndarray]:
        """Object -> (7,) x, y, z, qw, qx, qy, qz in base_link, metres."""
        with self.lock:
            return {name: self._data.joint(name).qpos.copy() for name in self._objects}

    def scene(self) -> Scene:
        """The state of the table that goals are judged by."""
        with self.lock:
            speeds = {
                name: float(np.linalg.norm(self._data.joint(name).qvel[:3]))
                for name in self._objects
            }
            return Scene(self.object_poses(), speeds, self._touched())

    def success(self) -> bool:
        """Whether every goal of the task is satisfied now."""
        scene = self.scene()
        return all(goal.satisfied(scene) for goal in self._goals)

    def move_object(self, name: str, pose: np.ndarray) -> None:
        """Put an object at (7,) `pose`, at rest: a nudge, a slip, a rearranged table."""
        with self.lock:
            self._data.joint(name).qpos = pose
            self._data.joint(name).qvel = 0.0
            mujoco.mj_forward(self.model, self._data)

    def snapshot(self, into: mujoco.MjData) -> None:
        """Copy the state into a render thread's own data, ready to draw."""
        with self.lock:
            into.time = self._data.time
            into.qpos[:] = self._data.qpos
            into.qvel[:] = self._data.qvel
        # Kinematics and lights only: drawing needs no forces, and the lock is free meanwhile.
        mujoco.mj_kinematics(self.model, into)
        mujoco.mj_comPos(self.model, into)
        mujoco.mj_camlight(self.model, into)

    def _touched(self) -> frozenset[str]:
        bodies: Mapping[int, str] = {body: name for name, body in self._objects.items()}
        touched = set()
        for first, second in self._data.contact.geom:
            for one, other in ((first, second), (second, first)):
                name = bodies.get(int(self.model.geom_bodyid[other]))
                if name is not None and int(one) in self._arm_geoms:
                    touched.add(name)
        return frozenset(touched)
