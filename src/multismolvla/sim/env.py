"""The simulator as a Gymnasium environment: joint targets in, joint state and camera frames out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces

from multismolvla.arm import JOINT_LOWER_RAD, JOINT_NAMES, JOINT_UPPER_RAD
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import DEFAULT_TASK_ID, find_task
from multismolvla.streams import Stream, StreamTable

STEP_S = 1 / 30
DEFAULT_MAX_STEPS = {"spatial": 600, "object": 600, "goal": 600, "long": 1200}


class FrameSpace(spaces.Box):
    """Frames of one stream; NaN is a value of a depth image, unlike in a plain Box."""

    def __init__(self, stream: Stream) -> None:
        shape = (stream.height, stream.width)
        if stream.kind == "rgb":
            super().__init__(0, 255, (*shape, 3), np.uint8)
        elif stream.kind == "segmentation":
            super().__init__(0, 255, shape, np.uint8)
        else:
            low = 0.0 if stream.kind == "depth" else -273.15
            super().__init__(low, 1e4, shape, np.float32)

    def contains(self, x: Any) -> bool:
        """Whether `x` is a frame of this stream; NaN counts as the lowest value."""
        return super().contains(np.nan_to_num(x, nan=float(self.low.flat[0])))


class TabletopEnv(gymnasium.Env):
    """One of the twelve tasks on the tabletop, at 30 steps per second.

    Observation: `state` (6,) measured joint positions, radians, and one raw frame per stream asked
    for, under the stream's name. Action: (6,) joint targets, radians. Reward 1 on success, which
    also terminates the episode; truncation after `max_steps`. `info` carries `instruction`,
    `task`, `success`, `time_s` and `object_poses`, the truth that the scripted expert reads.

    Args:
        task: id or instruction of the task that `reset` starts unless its options name another.
        table: stream table; needed only with `streams`.
        streams: names of the streams to render; none by default, so that no OpenGL is needed.
        max_steps: steps until truncation; by default 20 s, and 40 s in the long suite.
    """

    metadata: Mapping[str, Any] = {"render_modes": [], "render_fps": 30}

    def __init__(
        self,
        task: str = DEFAULT_TASK_ID,
        table: StreamTable | None = None,
        streams: Sequence[str] = (),
        max_steps: int | None = None,
    ) -> None:
        if streams and table is None:
            raise ValueError(f"streams {', '.join(streams)} asked for without a stream table")
        self._default_task = find_task(task)
        self._max_steps = max_steps
        self._streams = tuple(streams)
        self._simulation = Simulation()
        self._cameras = None
        if self._streams:
            # Rendering pulls in OpenGL, which an environment without streams does not need.
            from multismolvla.sim.cameras import Cameras

            self._cameras = Cameras(self._simulation.model, table)
            self._view = mujoco.MjData(self._simulation.model)
        self.action_space = spaces.Box(JOINT_LOWER_RAD, JOINT_UPPER_RAD, dtype=np.float64)
        # Contact can push a joint a little beyond its limits.
        full_turn = np.full(len(JOINT_NAMES), np.pi)
        self.observation_space = spaces.Dict(
            {"state": spaces.Box(-full_turn, full_turn, dtype=np.float64)}
            | {name: FrameSpace(table[name]) for name in self._streams}
        )

    @property
    def simulation(self) -> Simulation:
        """The simulation behind this environment."""
        return self._simulation

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; `options={"task": id or instruction}` chooses the task.

        Raises:
            ValueError: an option or the task is unknown.
        """
        super().reset(seed=seed)
        unknown = set(options or {}) - {"task"}
        if unknown:
            raise ValueError(f"unknown reset option '{sorted(unknown)[0]}'; expected 'task'")
        task = find_task(options["task"]) if options else self._default_task
        placement = seed if seed is not None else int(self.np_random.integers(2**31))
        self._simulation.reset(task, placement)
        if self._cameras is not None:
            self._cameras.reseed(placement)
        self._steps = 0
        self._limit = self._max_steps or DEFAULT_MAX_STEPS[task.suite]
        return self._observe(), self._info(success=False)

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Command joint targets and simulate 1/30 s; targets beyond the limits are clipped.

        Raises:
            ValueError: the action is not six finite numbers.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (len(JOINT_NAMES),) or not np.isfinite(action).all():
            raise ValueError(f"action is {action!r}; expected {len(JOINT_NAMES)} finite angles")
        for index, goal in enumerate(np.clip(action, JOINT_LOWER_RAD, JOINT_UPPER_RAD)):
            self._simulation.servos.set_goal_rad(index, goal)
        self._simulation.advance(STEP_S)
        self._steps += 1
        success = self._simulation.success()
        truncated = not success and self._steps >= self._limit
        return self._observe(), float(success), success, truncated, self._info(success)

    def close(self) -> None:
        """Release the renderer."""
        if self._cameras is not None:
            self._cameras.close()

    def _observe(self) -> dict[str, np.ndarray]:
        observation = {"state": self._simulation.servos.positions_rad()}
        if self._cameras is not None:
            self._simulation.snapshot(self._view)
            observation |= self._cameras.render(self._view, self._streams, self._simulation.time_s)
        return observation

    def _info(self, success: bool) -> dict[str, Any]:
        simulation = self._simulation
        return {
            "task": simulation.task.id,
            "instruction": simulation.task.instruction,
            "success": success,
            "time_s": simulation.time_s,
            "object_poses": simulation.object_poses(),
        }
