"""Twelve language tasks in four suites: spatial, object, goal, long.

The suites follow LIBERO (Liu et al. 2023): the same skills described by relation, by object, by
goal and as a sequence.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from multismolvla.sim.goals import Goal
from multismolvla.sim.layout import PLATE_CENTRE, SHAPES

# Seeded starting places for the objects: within reach, apart from each other, off the fixtures.

# Within reach of a hand that points down and lifts its load over the bin's rim, and clear of bin
# and plate by an open finger.
X_RANGE = (0.150, 0.262)
Y_RANGE = (-0.064, 0.060)
# Centre to centre: room for an open finger between any two objects.
CLEARANCE_M = 0.072
BRICK_CLEARANCE_M = 0.080
ATTEMPTS = 10_000

Poses = dict[str, np.ndarray]


def place_objects(
    rng: np.random.Generator, accept: Callable[[Mapping[str, np.ndarray]], bool]
) -> Poses:
    """Draw poses until `accept` likes them: object -> (7,) x, y, z, qw, qx, qy, qz in base_link.

    Raises:
        RuntimeError: `accept` refused every draw, so the task cannot be set up.
    """
    for _ in range(ATTEMPTS):
        poses = {name: _draw(rng, name) for name in SHAPES}
        if _apart(poses) and accept(poses):
            return poses
    raise RuntimeError(f"no acceptable placement in {ATTEMPTS} draws; relax the task's condition")


def _draw(rng: np.random.Generator, name: str) -> np.ndarray:
    x, y = rng.uniform(*X_RANGE), rng.uniform(*Y_RANGE)
    yaw = rng.uniform(-math.pi, math.pi)
    return np.array([x, y, SHAPES[name].half[2], math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)])


def _apart(poses: Poses) -> bool:
    names = list(poses)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            needed = BRICK_CLEARANCE_M if "green_brick" in (first, second) else CLEARANCE_M
            if math.dist(poses[first][:2], poses[second][:2]) < needed:
                return False
    return True


# By how much the object that an instruction means must stand out from the next one.
RELATION_MARGIN_M = 0.03
# The cube starts at least this far from the cylinder that it is to be put beside, and so far from
# the brick does its path lie.
BESIDE_START_M = 0.095
BESIDE_WAY_M = 0.050

Measure = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Task:
    """One instruction with its goals.

    Attributes:
        id: short name.
        suite: `spatial`, `object`, `goal` or `long`.
        instruction: what the policy gets.
        goals: what must hold at the end. In a task of the spatial suite there is one goal whose
            object is a placeholder until `bind` has looked at the table.
        measure: spatial suite: the object with the smallest value of this is meant.
        accept: further condition on the starting poses.
    """

    id: str
    suite: str
    instruction: str
    goals: tuple[Goal, ...]
    measure: Measure | None = None
    accept: Callable[[Mapping[str, np.ndarray]], bool] = lambda poses: True

    def bind(self, poses: Mapping[str, np.ndarray]) -> tuple[Goal, ...]:
        """The goals with the object that the instruction means on this table.

        An object that already lies where the instruction wants one counts as the one meant, so
        that binding again after the work is done does not start it anew.
        """
        if self.measure is None:
            return self.goals
        place = self.goals[0].place
        candidates = [Goal(name, place) for name in sorted(poses)]
        done = [goal for goal in candidates if goal.reached(poses)]
        return (min(done or candidates, key=lambda goal: self.measure(poses[goal.name])),)

    def place(self, seed: int) -> Poses:
        """Starting poses for a seed; the same seed gives the same poses."""
        rng = np.random.default_rng([seed, *self.id.encode()])
        return place_objects(rng, lambda poses: self._clear(poses) and self.accept(poses))

    def _clear(self, poses: Mapping[str, np.ndarray]) -> bool:
        if self.measure is None:
            return True
        first, second = sorted(self.measure(pose) for pose in poses.values())[:2]
        return second - first > RELATION_MARGIN_M


def _to_plate(pose: np.ndarray) -> float:
    return math.dist(pose[:2], PLATE_CENTRE)


def _nearness(pose: np.ndarray) -> float:
    return -float(pose[0])


def _rightness(pose: np.ndarray) -> float:
    # y points to the robot's left, so the leftmost object has the smallest of this.
    return -float(pose[1])


def _way_beside_is_free(poses: Mapping[str, np.ndarray]) -> bool:
    cube, cylinder = poses["red_cube"][:2], poses["blue_cylinder"][:2]
    way = cylinder - cube
    length = float(np.linalg.norm(way))
    along = float(np.clip((poses["green_brick"][:2] - cube) @ way / length**2, 0.0, 1.0))
    gap = math.dist(cube + along * way, poses["green_brick"][:2])
    return length > BESIDE_START_M and gap > BESIDE_WAY_M


def _object_task(name: str) -> Task:
    words = name.replace("_", " ")
    return Task(f"{name}_in_bin", "object", f"put the {words} in the bin", (Goal(name, "bin"),))


TASKS: tuple[Task, ...] = (
    Task(
        "nearest_plate_in_bin",
        "spatial",
        "put the object closest to the plate in the bin",
        (Goal("", "bin"),),
        measure=_to_plate,
    ),
    Task(
        "farthest_on_plate",
        "spatial",
        "put the object farthest from the robot on the plate",
        (Goal("", "plate"),),
        measure=_nearness,
    ),
    Task(
        "leftmost_on_plate",
        "spatial",
        "put the leftmost object on the plate",
        (Goal("", "plate"),),
        measure=_rightness,
    ),
    _object_task("red_cube"),
    _object_task("blue_cylinder"),
    _object_task("green_brick"),
    Task(
        "cube_on_plate",
        "goal",
        "put the red cube on the plate",
        (Goal("red_cube", "plate"),),
    ),
    Task(
        "cube_on_brick",
        "goal",
        "stack the red cube on the green brick",
        (Goal("red_cube", "on", "green_brick"),),
    ),
    Task(
        "cube_beside_cylinder",
        "goal",
        "put the red cube next to the blue cylinder",
        (Goal("red_cube", "beside", "blue_cylinder"),),
        accept=_way_beside_is_free,
    ),
    Task(
        "cube_and_cylinder_in_bin",
        "long",
        "put the red cube and the blue cylinder in the bin",
        (Goal("red_cube", "bin"), Goal("blue_cylinder", "bin")),
    ),
    Task(
        "brick_on_plate_cube_in_bin",
        "long",
        "put the green brick on the plate and the red cube in the bin",
        (Goal("green_brick", "plate"), Goal("red_cube", "bin")),
    ),
    Task(
        "all_in_bin",
        "long",
        "put all objects in the bin",
        (Goal("green_brick", "bin"), Goal("red_cube", "bin"), Goal("blue_cylinder", "bin")),
    ),
)

DEFAULT_TASK_ID = "red_cube_in_bin"
# A policy's step, and how many of them an episode of a suite may take.
STEP_S = 1 / 30
DEFAULT_MAX_STEPS = {"spatial": 600, "object": 600, "goal": 600, "long": 1200}


def find_task(id_or_instruction: str) -> Task:
    """The task with this id or this instruction (letter case and spacing do not matter).

    Raises:
        ValueError: there is none; the message names the closest ones.
    """
    wanted = " ".join(id_or_instruction.lower().split())
    by_name = {task.id: task for task in TASKS} | {task.instruction: task for task in TASKS}
    if wanted in by_name:
        return by_name[wanted]
    close = difflib.get_close_matches(wanted, by_name, n=3, cutoff=0.4)
    names = ", ".join(f"'{name}'" for name in close or [task.id for task in TASKS])
    hint = "did you mean one of" if close else "known tasks are"
    raise ValueError(f"unknown task '{id_or_instruction}'; {hint} {names}")
