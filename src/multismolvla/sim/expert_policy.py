"""The scripted expert as a policy: its feedback law, rolled forward into a chunk."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multismolvla.arm import JOINT_NAMES
from multismolvla.interfaces import ActionChunk, Observation
from multismolvla.sim.expert import next_target
from multismolvla.sim.goals import Goal
from multismolvla.sim.layout import SHAPES
from multismolvla.sim.rollout import advance
from multismolvla.sim.tasks import Task, find_task

PERIOD_S = 1 / 30
ROWS = 50


class ExpertPolicy:
    """Solves every task of the simulator from joint positions and true object poses.

    Its only memory is which object the instruction means: decided when the task begins, because
    "the leftmost object" is another one as soon as the first has been moved. An object that is
    already in its place is taken for the one meant, so the memory can be lost without harm once
    the object is there.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget which object the instruction means."""
        self._task: Task | None = None
        self._goals: tuple[Goal, ...] = ()

    def infer(self, observation: Observation) -> ActionChunk:
        """Return 50 joint targets, 1/30 s apart, from the observed state on.

        Raises:
            ValueError: the task is unknown, the object poses are missing or the state is unusable.
        """
        task = find_task(observation.task)
        poses = _checked_poses(observation.privileged)
        joints = np.asarray(observation.state, dtype=np.float64)
        if joints.shape != (len(JOINT_NAMES),) or not np.isfinite(joints).all():
            raise ValueError(
                f"state is {observation.state!r}; expected {len(JOINT_NAMES)} finite joint angles"
            )
        if task is not self._task:
            self._task, self._goals = task, task.bind(poses)
        rows = [joints]
        for _ in range(ROWS - 1):
            target = next_target(joints, poses, self._goals, PERIOD_S)
            joints, poses = advance(joints, poses, target)
            rows.append(target)
        return ActionChunk(observation.stamp_ns, PERIOD_S, np.array(rows))


def _checked_poses(privileged: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    missing = [name for name in SHAPES if name not in privileged]
    if missing:
        raise ValueError(
            f"the expert needs the true poses of all objects; {', '.join(missing)} missing: "
            "run it in the simulator, or choose a learned policy"
        )
    poses = {name: np.asarray(privileged[name], dtype=np.float64) for name in SHAPES}
    for name, pose in poses.items():
        if pose.shape != (7,) or not np.isfinite(pose).all():
            raise ValueError(f"pose of {name} is {pose!r}; expected x y z qw qx qy qz")
    return poses
