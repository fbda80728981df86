"""Success of the scripted expert per task, without ROS, as chunks executed with latency.

Every `1 / replan-hz` seconds the policy gets a new observation; its chunk takes over
`latency` seconds later, merged at its time stamp, as the control stack does.

    ./run python benchmarks/expert_success.py --episodes-per-task 5
"""

from __future__ import annotations

import argparse
import math
import os
import time

import numpy as np

from multismolvla.interfaces import ActionChunk, Observation
from multismolvla.sim.expert_policy import ExpertPolicy
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import TASKS, Task

CONTROL_S = 1 / 60
TIME_LIMIT_S = {"spatial": 20.0, "object": 20.0, "goal": 20.0, "long": 40.0}


def target_at(chunk: ActionChunk, time_ns: int) -> np.ndarray:
    """(6,) target of the chunk for an instant, linear between rows, held after the last."""
    row = (time_ns - chunk.stamp_ns) / (chunk.period_s * 1e9)
    row = min(max(row, 0.0), len(chunk.actions) - 1.0)
    low = min(int(row), len(chunk.actions) - 2)
    return chunk.actions[low] + (row - low) * (chunk.actions[low + 1] - chunk.actions[low])


class Episode:
    """One task, one seed, one policy; `run` returns whether and when it succeeded."""

    def __init__(self, simulation: Simulation, latency_s: float, replan_hz: float) -> None:
        self.simulation, self.policy = simulation, ExpertPolicy()
        self.latency_s, self.replan_s = latency_s, 1 / replan_hz
        self.infer_s: list[float] = []

    def run(self, task: Task, seed: int) -> tuple[bool, float]:
        simulation = self.simulation
        simulation.reset(task, seed)
        self.policy.reset()
        current: ActionChunk | None = None
        pending: list[tuple[float, ActionChunk]] = []
        asked = 0
        while simulation.time_s < TIME_LIMIT_S[task.suite]:
            now = simulation.time_s
            if now >= asked * self.replan_s - 1e-9:
                asked += 1
                pending.append((now + self.latency_s, self._infer(task)))
            while pending and pending[0][0] <= now + 1e-9:
                current = pending.pop(0)[1]
            if current is not None:
                for index, goal in enumerate(target_at(current, round(now * 1e9))):
                    simulation.servos.set_goal_rad(index, goal)
            simulation.advance(CONTROL_S)
            if simulation.success():
                return True, simulation.time_s
        return False, simulation.time_s

    def _infer(self, task: Task) -> ActionChunk:
        simulation = self.simulation
        observation = Observation(
            stamp_ns=round(simulation.time_s * 1e9),
            frames={},
            mask={},
            state=simulation.servos.positions_rad(),
            task=task.instruction,
            privileged=simulation.object_poses(),
        )
        started = time.perf_counter()
        chunk = self.policy.infer(observation)
        self.infer_s.append(time.perf_counter() - started)
        return chunk


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % confidence interval of a success rate (Wilson 1927)."""
    z, rate = 1.96, successes / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials**2))
    half /= 1 + z * z / trials
    return max(0.0, centre - half), min(1.0, centre + half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes-per-task", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first episode")
    parser.add_argument("--latency", type=float, default=0.3, help="age of a chunk at use, s")
    parser.add_argument("--replan-hz", type=float, default=3.0)
    parser.add_argument("--task", action="append", help="only this task id; may be repeated")
    arguments = parser.parse_args()

    episode = Episode(Simulation(), arguments.latency, arguments.replan_hz)
    total = succeeded = 0
    for task in TASKS:
        if arguments.task and task.id not in arguments.task:
            continue
        count = arguments.episodes_per_task
        results = [episode.run(task, arguments.seed + index) for index in range(count)]
        good = [seconds for success, seconds in results if success]
        failed = [arguments.seed + k for k, (success, _) in enumerate(results) if not success]
        low, high = wilson(len(good), count)
        print(
            f"{task.suite:8} {task.id:28} {len(good):3}/{count:<3} "
            f"[{low:4.0%}, {high:4.0%}]  mean {np.mean(good) if good else math.nan:5.1f} s"
            + (f"  failed seeds {failed}" if failed else ""),
            flush=True,
        )
        total, succeeded = total + count, succeeded + len(good)
    low, high = wilson(succeeded, total)
    inference = np.array(episode.infer_s) * 1e3
    print(f"all {succeeded}/{total} = {succeeded / total:.1%} [{low:.1%}, {high:.1%}]")
    print(
        f"latency {arguments.latency} s, replanning {arguments.replan_hz} Hz; inference median "
        f"{np.median(inference):.1f} ms, 99th percentile {np.percentile(inference, 99):.1f} ms; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
