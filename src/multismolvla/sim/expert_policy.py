"""The scripted expert as a policy: its feedback law, rolled forward into a chunk."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import ActionChunk, Observation
from multismolvla.sim.expert import next_target
from multismolvla.sim.goals import Goal
from multismolvla.sim.layout import SHAPES
from multismolvla.sim.rollout import advance
from multismolvla.sim.tasks import Task, find_task

PERIOD_S = 1 / 30
ROWS = 50
# Rows that the arm may already have passed when a chunk reaches it: they repeat the last chunk.
COMMITTED_S = 1 / 3
# A measured joint farther than this from the last chunk is not following it.
LOST_TRACK_RAD = 0.6
# Keeps the targets within what a servo follows without falling behind.
ACCELERATION_RAD_S2 = 20.0


class ExpertPolicy:
    """Solves every task of the simulator from joint positions and true object poses.

    A chunk is used some time after its observation, while the arm goes on along the chunk before.
    So the rows of the first `committed_s` repeat that chunk, and the law takes over from where it
    will have led; without a chunk before, or off its track, the arm is expected to stay. Chunks
    then agree wherever they overlap, whatever the latency up to `committed_s`.

    The other memory is which object the instruction means: decided when the task begins, because
    "the leftmost object" is another one as soon as the first has been moved. An object that is
    already in its place is taken for the one meant, so that memory can be lost without harm once
    the object is there.

    Args:
        committed_s: 0 makes a chunk a function of its observation alone, for labelling.
    """

    # It looks at none.
    streams = ()

    def __init__(self, committed_s: float = COMMITTED_S) -> None:
        self._committed_rows = round(committed_s / PERIOD_S)
        self.reset()

    def reset(self) -> None:
        """Forget the last chunk and which object the instruction means."""
        self._task: Task | None = None
        self._goals: tuple[Goal, ...] = ()
        self._last: ActionChunk | None = None

    def infer(self, observation: Observation) -> ActionChunk:
        """Return 50 joint targets, 1/30 s apart, from the observed state on.

        Raises:
            ValueError: the task is unknown, the object poses are missing or the state is unusable.
        """
        task = find_task(observation.task)
        poses = _checked_poses(observation.privileged)
        joints = np.asarray(observation.state, dtype=np.float64)
        if joints.shape != (len(SO101),) or not np.isfinite(joints).all():
            raise ValueError(
                f"state is {observation.state!r}; expected {len(SO101)} finite joint angles"
            )
        if task is not self._task:
            self._task, self._goals, self._last = task, task.bind(poses), None
        rows = self._committed(observation.stamp_ns, joints)
        for target in rows[1:]:
            joints, poses = advance(joints, poses, target)
        while len(rows) < ROWS:
            speed = rows[-1] - rows[-2] if len(rows) > 1 else np.zeros(len(SO101))
            target = next_target(joints, poses, self._goals, PERIOD_S)
            target[:5] = _eased(rows[-1], speed, target)[:5]
            joints, poses = advance(joints, poses, target)
            rows.append(target)
        self._last = ActionChunk(observation.stamp_ns, PERIOD_S, np.array(rows))
        return self._last

    def _committed(self, stamp_ns: int, joints: np.ndarray) -> list[np.ndarray]:
        """Row 0 and the committed rows after it."""
        times_ns = stamp_ns + np.arange(1 + self._committed_rows) * PERIOD_S * 1e9
        if self._last is not None and self._committed_rows:
            steps = (times_ns - self._last.stamp_ns) / (PERIOD_S * 1e9)
            along = np.arange(len(self._last.actions))
            rows = np.stack([np.interp(steps, along, joint) for joint in self._last.actions.T], 1)
            # The gripper stops at what it holds, short of its target.
            if steps[0] >= 0 and np.abs(rows[0] - joints)[:5].max() < LOST_TRACK_RAD:
                return list(rows)
        return [joints] * len(times_ns)


def _eased(previous: np.ndarray, speed: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`target`, no farther from going on at `speed` than the acceleration allows."""
    change = ACCELERATION_RAD_S2 * PERIOD_S**2
    return previous + np.minimum(np.maximum(target - previous, speed - change), speed + change)


def _checked_poses(privileged: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    missing = [name for name in SHAPES if name not in privileged]
    if missing:
        raise ValueError(
            f"no pose of {', '.join(missing)}: the expert needs the poses of all objects, which "
            "only the simulator gives; choose a learned policy"
        )
    poses = {name: np.asarray(privileged[name], dtype=np.float64) for name in SHAPES}
    for name, pose in poses.items():
        if pose.shape != (7,) or not np.isfinite(pose).all():
            raise ValueError(f"pose of {name} is {pose!r}; expected x y z qw qx qy qz")
    return poses
