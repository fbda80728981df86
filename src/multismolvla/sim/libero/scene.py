"""LIBERO's world together with its cameras, whichever task is loaded."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from multismolvla.sim.cameras import Cameras
from multismolvla.sim.libero.cameras import libero_cameras
from multismolvla.sim.libero.package import require
from multismolvla.sim.libero.tasks import LiberoTask, find_libero_task
from multismolvla.sim.libero.world import LiberoWorld
from multismolvla.streams import StreamTable


class LiberoScene:
    """What a robot over ROS needs of LIBERO; see `stack.stepped_robot.SteppedWorld`.

    Raises:
        LiberoMissing: the wheels are not there.
    """

    embodiment = LiberoWorld.embodiment

    def __init__(self, table: StreamTable) -> None:
        require()
        self._table = table
        self._world = LiberoWorld()
        self._cameras: Cameras | None = None
        self._model: mujoco.MjModel | None = None
        self._seen: mujoco.MjData | None = None

    @staticmethod
    def find(text: str) -> LiberoTask:
        """See `find_libero_task`."""
        return find_libero_task(text)

    def begin(self, task: LiberoTask, seed: int) -> None:
        """Begin an episode in official place `seed`, or in one of our own from 50 on.

        Another task is another scene, whose loading takes seconds.

        Raises:
            ValueError: a stream's view or kind, or a thing in the scene, is unknown.
        """
        self._world.begin(task, seed)
        if self._model is not self._world.model:
            self.close()
            self._model = self._world.model
            self._cameras = libero_cameras(self._world, self._table)
            self._seen = mujoco.MjData(self._model)
        self._cameras.reseed(seed)

    def step(self, action: np.ndarray) -> None:
        """Simulate 50 ms of an action (7,)."""
        self._world.step(action)

    def state(self) -> np.ndarray:
        """(8,) of the arm; see `LiberoWorld`."""
        return self._world.state()

    def success(self) -> bool:
        """LIBERO's own test of the goal, now."""
        return self._world.success()

    def look(self, names: Sequence[str], time_s: float) -> dict[str, np.ndarray]:
        """One raw frame per stream named; see `Cameras.render`."""
        self._world.snapshot(self._seen)
        return self._cameras.render(self._seen, names, time_s)

    def intrinsics(self, name: str) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy of a stream, pixels; the same in every scene."""
        return self._cameras.intrinsics(name)

    def close(self) -> None:
        """Release the renderer."""
        if self._cameras is not None:
            self._cameras.close()
        self._cameras = self._model = None
