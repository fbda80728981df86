"""Success of a policy over the whole running stack, per condition, with the speed of the simulator.

    ./run python benchmarks/ros_episodes.py                            # 12 tasks x 5 seeds, clean
    ./run python benchmarks/ros_episodes.py --condition depth --condition thermal
    ./run python benchmarks/ros_episodes.py --tasks object_cube_bin --episodes-per-task 1

A condition is `clean` or a kind of stream that is dead in both views from the start. Every episode
is one line of JSON in --out; a stopped run continues where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
from pathlib import Path

import rclpy
from ament_index_python.packages import get_package_share_directory
from rclpy.signals import SignalHandlerOptions

from multismolvla.evaluation.wilson import wilson_interval
from multismolvla.modalities.registry import kinds
from multismolvla.nodes.episode_runner import EpisodeRunner
from multismolvla.sim.tasks import TASKS
from multismolvla.stack.bringup_process import NO_TASK, BringupProcess
from multismolvla.streams import load_stream_table

EPISODE_TIMEOUT_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--condition", action="append", choices=("clean", *kinds()))
    parser.add_argument("--episodes-per-task", type=int, default=5)
    parser.add_argument("--tasks", nargs="*", default=[task.id for task in TASKS])
    parser.add_argument("--policy", default="expert")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("out/ros_episodes"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    table = load_stream_table(
        Path(get_package_share_directory("multismolvla")) / "config" / "streams.yaml"
    )
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        for condition in args.condition or ["clean"]:
            _run_condition(args, table, condition)
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


def _run_condition(args, table, condition: str) -> None:
    results = args.out / f"{args.policy}_{condition}.jsonl"
    done = (
        [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    )
    seen = {(row["task"], row["seed"]) for row in done}
    wanted = [
        (task, args.seed + index)
        for index in range(args.episodes_per_task)
        for task in args.tasks
        if (task, args.seed + index) not in seen
    ]
    dead = [stream.name for stream in table if stream.kind == condition]
    # The simulator's own labels can be cut like a camera; the network's would live on its sources.
    arguments = {"policy": args.policy, "task": NO_TASK}
    if condition == "segmentation":
        arguments["segmentation"] = "ground_truth"
    if wanted:
        with (
            BringupProcess(arguments, args.out / f"launch_{condition}.log") as bringup,
            contextlib.closing(EpisodeRunner(table, check=bringup.check)) as runner,
        ):
            runner.wait_ready()
            for task, seed in wanted:
                episode = runner.run_episode(task, seed, EPISODE_TIMEOUT_S, dead=dead)
                row = {
                    "task": task,
                    "seed": seed,
                    "success": episode.success,
                    "time_s": episode.success_time_s,
                    "real_time_factor": runner.real_time_factor,
                    "load_average": os.getloadavg()[0],
                }
                with results.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                done.append(row)
                print(f"{condition:12s} {task:28s} seed {seed}: {row['success']}", flush=True)
    _print_table(condition, done)


def _print_table(condition: str, rows: list[dict]) -> None:
    print(f"\n{condition}: success by task")
    for task in sorted({row["task"] for row in rows}):
        own = [row for row in rows if row["task"] == task]
        times = [row["time_s"] for row in own if row["success"]]
        median = f"median {statistics.median(times):.1f} s" if times else ""
        print(f"  {task:28s} {len(times)}/{len(own)}  {median}")
    successes = sum(row["success"] for row in rows)
    low, high = wilson_interval(successes, len(rows))
    factors = [row["real_time_factor"] for row in rows]
    print(
        f"  all: {successes}/{len(rows)} = {successes / len(rows):.1%}, 95 % interval "
        f"{low:.1%} to {high:.1%}; real-time factor median {statistics.median(factors):.3f}, "
        f"least {min(factors):.3f}; load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores\n"
    )


if __name__ == "__main__":
    sys.exit(main())
