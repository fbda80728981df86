"""How often LIBERO's scripted teacher succeeds, per task, and how fast episodes are made.

    ./run python benchmarks/libero_teacher.py object spatial/3 --episodes 10
    ./run python benchmarks/libero_teacher.py object --noise 0.3  # disturbed actions

Places are our own (`LiberoWorld.reset`); `--init-states` takes the official ones. Episode k of a
task is seed (or place) k, so any of them can be repeated alone with `--first`.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from multismolvla.evaluation.wilson import wilson_interval
from multismolvla.sim.libero.tasks import SUITES, find_libero_task, suite_tasks
from multismolvla.sim.libero.teacher import Teacher, act
from multismolvla.sim.libero.world import LiberoWorld

# Of the disturbance: how much of it is kept from step to step, how often the gripper is wrong.
_SMOOTH, _WRONG_CHANCE, _WRONG_STEPS = 0.9, 0.01, 4


class Disturbance:
    """Smooth noise on the six numbers of motion; now and then a wrong gripper for a few steps."""

    def __init__(self, deviation: float, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._deviation = deviation
        self._noise = np.zeros(6)
        self._wrong = 0

    def __call__(self, action: np.ndarray) -> np.ndarray:
        if not self._deviation:
            return action
        fresh = self._random.normal(0.0, self._deviation, 6)
        self._noise = _SMOOTH * self._noise + np.sqrt(1 - _SMOOTH**2) * fresh
        if self._wrong == 0 and self._random.random() < _WRONG_CHANCE:
            self._wrong = _WRONG_STEPS
        action = action.copy()
        action[:6] += self._noise
        if self._wrong:
            self._wrong -= 1
            action[6] = -action[6]
        return action


def episode(world: LiberoWorld, teacher: Teacher, noise: Disturbance) -> tuple[bool, int]:
    """Run to success or to the horizon; returns success and steps."""
    teacher.reset()
    while world.steps < world.task.horizon:
        position, rotation = world.gripper_pose()
        action = act(teacher.plan(), position, rotation, world.state()[6:])
        world.step(noise(action))
        if world.success():
            return True, world.steps
    return False, world.steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tasks", nargs="+", help="suites or tasks, such as object spatial/3")
    parser.add_argument("--episodes", type=int, default=10, help="per task")
    parser.add_argument("--first", type=int, default=0, help="seed or place of the first episode")
    parser.add_argument("--init-states", action="store_true", help="the official places")
    parser.add_argument("--noise", type=float, default=0.0, help="deviation of the disturbance")
    options = parser.parse_args()
    tasks = []
    for name in options.tasks:
        tasks += suite_tasks(name) if name in SUITES else [find_libero_task(name)]
    world = LiberoWorld()
    teacher = Teacher(world)
    results: dict[str, list[bool]] = {}
    for task in tasks:
        world.load(task)
        begin, outcomes, steps = time.perf_counter(), [], []
        for k in range(options.first, options.first + options.episodes):
            world.start(task, k) if options.init_states else world.reset(task, k)
            success, count = episode(world, teacher, Disturbance(options.noise, k))
            outcomes.append(success)
            steps.append(count)
        minutes = (time.perf_counter() - begin) / 60
        good = [count for count, success in zip(steps, outcomes, strict=True) if success]
        failed = [options.first + k for k, success in enumerate(outcomes) if not success]
        print(
            f"{task.id:10} {rate(outcomes)}  {np.mean(good) if good else float('nan'):5.0f} steps"
            f"  {len(outcomes) / minutes:4.1f} a minute  {task.instruction}"
            + (f"  failed: {failed}" if failed else ""),
            flush=True,
        )
        results.setdefault(task.suite, []).extend(outcomes)
    for suite, outcomes in results.items():
        print(f"{suite:10} {rate(outcomes)}")


def rate(outcomes: list[bool]) -> str:
    """Successes of trials with the 95 % interval."""
    low, high = wilson_interval(sum(outcomes), len(outcomes))
    return f"{sum(outcomes):3}/{len(outcomes):<3} ({100 * low:3.0f}-{100 * high:3.0f} %)"


if __name__ == "__main__":
    main()
