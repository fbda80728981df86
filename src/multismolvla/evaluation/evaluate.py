"""Run policies in closed loop under broken cameras and report how often they succeed.

The live stack without ROS, in simulated time. Each finished episode is a line in
<out>/outcomes.jsonl; the same command continues where it was stopped. At the end:
<out>/report.md, heat_map.png and failures.mp4 with failed episodes side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from tqdm import tqdm

from multismolvla.control.action_queue import ENTRIES
from multismolvla.control.inference import parse_threshold
from multismolvla.evaluation.episode import EXECUTIONS, MASKS
from multismolvla.evaluation.episode_pool import (
    SEGMENTATIONS,
    Job,
    PoolError,
    PoolSettings,
    clip_file,
    run_jobs,
)
from multismolvla.evaluation.evaluation_report import render_report
from multismolvla.evaluation.heat_map import write_heat_map
from multismolvla.evaluation.outcome import EpisodeKey, Outcome, OutcomeLog
from multismolvla.evaluation.sensor_noise_report import render_sensor_noise
from multismolvla.evaluation.summary import summarize
from multismolvla.faults.conditions import SETS, Condition, condition_set, parse_condition
from multismolvla.pictures.film import write_video_wall
from multismolvla.pose_check.check import find_weights
from multismolvla.stack.command_options import (
    add_config,
    add_pose_check,
    add_streams,
    stream_table_file,
)
from multismolvla.stack.policy_loading import with_digest, without_digest
from multismolvla.stack.settings import (
    PolicySettings,
    StackSettings,
    load_settings,
    shipped_config,
)
from multismolvla.stack.worlds import FAST, RENDERINGS, WORLDS, World, find_world
from multismolvla.streams import StreamTable, load_stream_table

WALL_CLIPS = 16
# What a `robot.json` of before does not say.
ROBOTS_OF_OLD = {"world": "tabletop", "rendering": FAST}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--world",
        choices=WORLDS,
        default="tabletop",
        help="our own tabletop, or LIBERO's tasks (default: %(default)s)",
    )
    parser.add_argument(
        "--policies",
        nargs="+",
        metavar="POLICY",
        help="names, folders, hub ids or module:Class, as policy_node takes them (default: small, "
        "or small-libero)",
    )
    parser.add_argument(
        "--conditions",
        nargs="+",
        metavar="CONDITION",
        help=f"a set ({', '.join(SETS)}) or single ones, such as clean drop:all-rgb@mid "
        "only:all-depth noise-2:all-rgb (default: standard: 63 of them, 37 of LIBERO)",
    )
    parser.add_argument(
        "--plus",
        metavar="SET",
        help="with --world libero: sensor-noise, the 1601 episodes of LIBERO-plus with a damaged "
        "agentview, in place of conditions and episodes per task",
    )
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="ids of tasks (default: all)")
    parser.add_argument(
        "--suite", nargs="+", metavar="SUITE", help="suites whose tasks to run (default: all)"
    )
    parser.add_argument(
        "--episodes-per-task",
        type=int,
        metavar="N",
        help="episodes of each task (default: 20; 10 of LIBERO)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="seed of the first episode (default: 1000000; of LIBERO 0, the first of its 50 "
        "official places)",
    )
    parser.add_argument(
        "--rendering",
        choices=RENDERINGS,
        default=FAST,
        help="of LIBERO's cameras: fast, or as LIBERO renders (default: %(default)s)",
    )
    parser.add_argument(
        "--masks",
        nargs="+",
        choices=MASKS,
        default=["detector"],
        help="masks by the stack's own detector, or by an oracle that knows what is damaged",
    )
    parser.add_argument(
        "--execution",
        nargs="+",
        choices=EXECUTIONS,
        default=["asynchronous"],
        help="whether the arm continues along its queue during an inference",
    )
    parser.add_argument(
        "--latency-ms",
        nargs="+",
        type=float,
        metavar="MS",
        help="simulated duration of an inference (default: 100; of LIBERO 0, its world waits)",
    )
    parser.add_argument(
        "--queue-threshold",
        nargs="+",
        type=_threshold,
        metavar="SHARE",
        help="share of a chunk that is left when the next inference starts, or 'auto': as late as "
        "the latency allows; a synchronous robot then executes whole chunks "
        "(default: of the settings)",
    )
    parser.add_argument(
        "--chunk-entry",
        nargs="+",
        choices=ENTRIES,
        help="row at which a chunk is merged: the one nearest to the current setpoint, or the one "
        "at its time stamp (default: of the settings)",
    )
    parser.add_argument(
        "--noise-scale",
        nargs="+",
        type=float,
        metavar="SCALE",
        help="scale of the noise that a checkpoint's chunks start from; 1 in training "
        "(default: of the settings)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="the quick conditions, one task of each suite, few episodes each",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/evaluation"),
        help="folder of the results (%(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="where checkpoints run: cpu, cuda, auto")
    parser.add_argument(
        "--min-visual-streams",
        type=int,
        help="streams needed for the arm to move; 0: act without any (default: of the settings)",
    )
    parser.add_argument(
        "--all-streams",
        action="store_true",
        help="render every stream, even those that the policy does not use",
    )
    parser.add_argument(
        "--segmentation",
        choices=SEGMENTATIONS,
        default="network",
        help="labels by the network from its source streams, as on the robot, or the simulator's "
        "own, which are privileged (default: %(default)s)",
    )
    add_pose_check(parser, None, "simulation; none in LIBERO")
    add_config(parser)
    add_streams(parser)
    parser.add_argument("--no-clips", action="store_true", help="write no clips of failures")


def _threshold(text: str) -> float | None:
    try:
        return parse_threshold(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(args: argparse.Namespace) -> int:
    """Run what is missing, then write the report. Exit status 0, 1 for an error, 130 for Ctrl-C."""
    try:
        world = _fill_in(args)
        stack = _settings(args)
        table = load_stream_table(stream_table_file(args.streams, stack))
        jobs = _jobs(args, world, table, stack.policy)
        _same_robot(args, table, stack)
        find_weights(args.pose_check)
        log = OutcomeLog(args.out / "outcomes.jsonl")
        clips = None if args.no_clips else args.out / "clips"
        settings = PoolSettings(
            table,
            stack,
            args.device,
            args.all_streams,
            args.segmentation,
            args.pose_check,
            clips,
            world.name,
            args.rendering,
        )
        try:
            _run(jobs, log, settings, args.workers)
        finally:
            done = [log.outcomes[job.key] for job in jobs if job.key in log.outcomes]
            if done:
                _report(args.out, done, clips)
    except (ValueError, PoolError, OSError) as error:
        print(f"multismolvla evaluate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"stopped; finished episodes are in {args.out}, the same command continues",
            file=sys.stderr,
        )
        return 130
    return 0


def _fill_in(args: argparse.Namespace) -> World:
    """The world, whose defaults become those of the options that were not given."""
    world = find_world(args.world)
    if args.plus is not None:
        if args.plus not in world.lists:
            known = ", ".join(world.lists) or "nothing: it is for --world libero"
            raise ValueError(f"--plus is '{args.plus}'; {world.name} has {known}")
        for name in ("conditions", "episodes_per_task", "seed"):
            if getattr(args, name) is not None:
                option = f"--{name.replace('_', '-')}"
                raise ValueError(f"{option} cannot be given with --plus, whose list says it all")
    defaults = {
        "policies": [world.policy],
        "seed": world.first_seed,
        "latency_ms": [world.latency_s * 1e3],
        "pose_check": world.pose_check,
        "episodes_per_task": world.quick_episodes if args.quick else world.episodes,
        "config": shipped_config() / world.config if world.config else None,
    }
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return world


def _settings(args: argparse.Namespace) -> StackSettings:
    """The settings of the robot, with what the command line changes for every episode."""
    settings = load_settings(args.config)
    if args.min_visual_streams is None:
        return settings
    policy = replace(settings.policy, min_visual_streams=args.min_visual_streams)
    return replace(settings, policy=policy)


def _jobs(
    args: argparse.Namespace, world: World, table: StreamTable, settings: PolicySettings
) -> list[Job]:
    """Every requested episode; those to be compared are next to each other."""
    for name, least in (("episodes_per_task", 1), ("workers", 1), ("seed", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')} is {value}; expected {least} or more")
    if min(args.latency_ms) < 0:
        raise ValueError(f"--latency-ms is {min(args.latency_ms):g}; expected 0 or more")
    scales = args.noise_scale or [settings.policy_noise]
    if min(scales) < 0:
        raise ValueError(f"--noise-scale is {min(scales):g}; expected 0 or more")
    episodes = _listed(args, world, table) if args.plus else _episodes(args, world, table)
    policies = [with_digest(policy) for policy in args.policies]
    jobs = [
        Job(
            EpisodeKey(
                policy,
                condition.name,
                task,
                seed,
                masks,
                execution,
                latency_ms * 1e-3,
                threshold,
                entry,
                noise,
            ),
            condition,
        )
        for policy in policies
        for execution in args.execution
        for latency_ms in args.latency_ms
        for threshold in args.queue_threshold or [settings.queue_threshold]
        for entry in args.chunk_entry or [settings.chunk_entry]
        for noise in scales
        for condition, masks, task, seed in episodes
    ]
    # Duplicates run once.
    return list(dict.fromkeys(jobs))


def _episodes(
    args: argparse.Namespace, world: World, table: StreamTable
) -> list[tuple[Condition, str, str, int]]:
    """(condition, masks, task, seed) of every episode: each condition on each task and seed."""
    conditions = []
    for text in args.conditions or ["quick" if args.quick else "standard"]:
        conditions += condition_set(text, table) if text in SETS else [parse_condition(text, table)]
    seeds = range(args.seed, args.seed + args.episodes_per_task)
    return list(product(conditions, args.masks, _tasks(args, world), seeds))


def _listed(
    args: argparse.Namespace, world: World, table: StreamTable
) -> list[tuple[Condition, str, str, int]]:
    """The same of a list that was made elsewhere; only tasks and suites can be chosen."""
    tasks = _tasks(args, world)
    return [
        (parse_condition(episode.condition, table), masks, episode.task.id, episode.seed)
        for episode in world.lists[args.plus]()
        if episode.task.id in tasks
        for masks in args.masks
    ]


def _tasks(args: argparse.Namespace, world: World) -> list[str]:
    """Ids of the tasks that were named, else of the suites that were, else of all."""
    if args.tasks:
        return [world.find(task).id for task in args.tasks]
    there = world.tasks()
    suites = dict.fromkeys(task.suite for task in there)
    for suite in args.suite or []:
        if suite not in suites:
            raise ValueError(f"--suite is '{suite}'; {world.name} has {', '.join(suites)}")
    wanted = [task for task in there if task.suite in (args.suite or suites)]
    first = {task.suite: task.id for task in reversed(wanted)}
    return [task.id for task in wanted if not args.quick or task.id in first.values()]


def _same_robot(args: argparse.Namespace, table: StreamTable, stack: StackSettings) -> None:
    """Refuse to mix episodes of robots that differ in settings which no outcome records."""
    robot = {
        "streams": [repr(stream) for stream in table],
        "min_visual_streams": stack.policy.min_visual_streams,
        "config": repr(replace(stack, folder=None)),
        "all_streams": args.all_streams,
        "segmentation": args.segmentation,
        "pose_check": args.pose_check,
        "world": args.world,
        "rendering": args.rendering,
    }
    file = args.out / "robot.json"
    if not file.exists():
        args.out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(robot, indent=1) + "\n")
        return
    before = json.loads(file.read_text())
    for name, value in robot.items():
        if before.get(name, ROBOTS_OF_OLD.get(name)) != value:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{file}: made with another {option}; choose another --out")


def _run(jobs: Sequence[Job], log: OutcomeLog, settings: PoolSettings, workers: int) -> None:
    left = [job for job in jobs if job.key not in log.outcomes]
    if not left:
        print(f"all {len(jobs)} episodes are there already")
        return
    done, successes = 0, 0
    with tqdm(total=len(jobs), initial=len(jobs) - len(left), unit="episode") as bar:
        for outcome in run_jobs(left, settings, workers):
            log.add(outcome)
            done, successes = done + 1, successes + outcome.success
            bar.update()
            bar.set_postfix_str(f"{successes / done:.0%} success, {outcome.key.condition}")


def _report(out: Path, outcomes: Sequence[Outcome], clips: Path | None) -> None:
    rows = summarize(outcomes)
    (out / "report.md").write_text(render_report(rows) + render_sensor_noise(outcomes, rows))
    write_heat_map(out / "heat_map.png", outcomes)
    written = ["report.md", "heat_map.png"]
    failed = {} if clips is None else _failures(outcomes, clips)
    if failed:
        write_video_wall(out / "failures.mp4", failed)
        written.append("failures.mp4")
    rate = sum(outcome.success for outcome in outcomes) / len(outcomes)
    print(f"{rate:.1%} success over {len(outcomes)} episodes; in {out}: {', '.join(written)}")


def _failures(outcomes: Sequence[Outcome], clips: Path) -> dict[str, Path]:
    """Title -> clip of failures, spread over all of them."""
    failed = [
        (outcome.key, clip_file(clips, outcome.key))
        for outcome in outcomes
        if not outcome.success and clip_file(clips, outcome.key).exists()
    ]
    step = max(1, len(failed) // WALL_CLIPS)
    return {
        f"{without_digest(key.policy)} {key.condition} {key.task} {key.seed}": file
        for key, file in failed[::step][:WALL_CLIPS]
    }
