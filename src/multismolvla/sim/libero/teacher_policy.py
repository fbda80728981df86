"""The teacher as a policy, so that it runs through the stack like any other."""

from __future__ import annotations

from multismolvla.embodiment.panda import PERIOD_S
from multismolvla.interfaces import ActionChunk, Observation
from multismolvla.sim.libero.teacher import Teacher, imagine
from multismolvla.sim.libero.world import LiberoWorld

# Rows of a chunk: a second.
ROWS = 20


class TeacherPolicy:
    """Plans from the simulator's own state; of an observation it reads the stamp alone.

    Args:
        world: the one that it acts in.
    """

    # It looks at none.
    streams = ()
    reads_privileged = False

    def __init__(self, world: LiberoWorld) -> None:
        """
        Raises:
            ValueError: there is no world of LIBERO to act in; one line.
        """
        if not isinstance(world, LiberoWorld):
            raise ValueError("the teacher acts in LIBERO alone: use --world libero")
        self._world, self._teacher = world, Teacher(world)

    def reset(self) -> None:
        """Begin an episode."""
        self._teacher.reset()

    def infer(self, observation: Observation) -> ActionChunk:
        """The actions of the teacher for the next second."""
        world = self._world
        actions = imagine(
            self._teacher.plan(),
            *world.gripper_pose(),
            world.gripper_velocity(),
            world.state()[6:8],
            ROWS,
        )
        return ActionChunk(observation.stamp_ns, PERIOD_S, actions)
