"""Record the scripted expert in simulation, or a learner's states with the expert's labels.

One rosbag2 bag per episode: OUT/TASK/SEED. Run again to continue where it stopped, or with more
episodes. The seeds of a task are consecutive; for each that fails another one is added, and the
failed episode is kept in OUT/failed. Two runs with the same settings record the same scenes.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from multismolvla.argument_types import positive, share
from multismolvla.data.bag import write_episode
from multismolvla.sim.offscreen import RenderingError
from multismolvla.stack.command_options import add_config, add_streams, stream_table_file
from multismolvla.stack.policy_loading import load_policy
from multismolvla.stack.settings import load_settings, shipped_config
from multismolvla.stack.worlds import WORLDS, find_world
from multismolvla.streams import StreamTableError, load_stream_table
from multismolvla.training.demonstrations.demonstration import DemonstrationRecorder, Learner
from multismolvla.training.demonstrations.demonstration_folder import (
    DemonstrationsError,
    SeedPlan,
    Settings,
    bag_folder,
    claimed_folder,
)
from multismolvla.training.progress_line import ProgressLine
from multismolvla.training.provenance import git_says
from multismolvla.worker_pool import WorkerDied, results, start_worker

if TYPE_CHECKING:
    from multismolvla.training.demonstrations.libero_demonstration import LiberoRecorder

# Evaluation counts from 1 000 000 on: no scene is both learned from and judged by.
FIRST_SEED = 100_000
# Episodes of a task in a row: another task of LIBERO is another model to build and to draw.
ROUNDS = {"tabletop": 1, "libero": 10}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--world",
        choices=WORLDS,
        default="tabletop",
        help="our own tabletop, or LIBERO's tasks (default: %(default)s)",
    )
    parser.add_argument(
        "--suite", nargs="+", metavar="SUITE", help="suites whose tasks to record (default: all)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("data/demos"),
        metavar="DIR",
        help="folder of the bags (%(default)s)",
    )
    parser.add_argument(
        "--episodes-per-task",
        type=positive,
        default=100,
        metavar="N",
        help="successes per task (%(default)s)",
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        metavar="T",
        default=["all"],
        help="ids or instructions (default: all)",
    )
    parser.add_argument(
        "--workers", type=positive, default=2, metavar="N", help="processes (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=FIRST_SEED, metavar="S", help="first seed (%(default)s)"
    )
    parser.add_argument(
        "--noise",
        type=share,
        default=0.7,
        metavar="X",
        help="largest scale of the disturbance of executed actions, 0 to 1 (%(default)s)",
    )
    add_config(parser)
    add_streams(parser)
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="STREAM",
        default=["all"],
        help="streams to record (default: all); 'none' renders and records no frames",
    )
    learner = parser.add_argument_group("a learner's own states (DAgger)")
    learner.add_argument(
        "--policy",
        default="expert",
        metavar="P",
        help="policy that drives, as policy_node takes it; labels: expert (%(default)s)",
    )
    learner.add_argument(
        "--expert-share",
        type=share,
        default=0.3,
        metavar="X",
        help="share of the executed chunks that are the expert's (%(default)s)",
    )
    learner.add_argument(
        "--stream-loss",
        type=share,
        default=0.0,
        metavar="X",
        help="probability that a stream is masked for the learner during a chunk (%(default)s)",
    )
    learner.add_argument(
        "--privileged",
        action="store_true",
        help="give the learner noisy object poses from the simulator instead of camera frames; "
        "works with --only none",
    )


def main(args: argparse.Namespace) -> int:
    try:
        world = find_world(args.world)
        if args.tasks == ["all"]:
            tasks = [task.id for task in world.tasks() if task.suite in (args.suite or task.suite)]
            if not tasks:
                raise DemonstrationsError(f"{world.name} has no suite '{args.suite[0]}'")
        else:
            tasks = list(dict.fromkeys(world.find(name).id for name in args.tasks))
        if args.config is None and world.config:
            args.config = shipped_config() / world.config
        table_file = stream_table_file(args.streams, load_settings(args.config))
        table = load_stream_table(table_file)
        whole = {"all": table.names, "none": ()}
        streams = whole.get(args.only[0]) if len(args.only) == 1 else None
        if streams is None:
            streams = tuple(table[name].name for name in args.only)
        settings = Settings(
            args.seed,
            args.noise,
            streams,
            args.policy,
            args.expert_share,
            args.stream_loss,
            args.privileged,
            world.name,
        )
        if args.policy != "expert" and not (streams or args.privileged):
            raise DemonstrationsError(
                f"{args.policy} needs frames: name streams with --only, or use --privileged"
            )
        # Otherwise every process would print its own long error about a bad checkpoint.
        _load_learner(settings)
        with claimed_folder(args.out, settings):
            return _record_all(args, settings, tasks, table_file)
    except (DemonstrationsError, RenderingError, StreamTableError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the finished episodes are kept, run again to continue", file=sys.stderr)
        return 130


def _record_all(
    args: argparse.Namespace, settings: Settings, tasks: list[str], table_file: Path
) -> int:
    plans = {
        task: SeedPlan(args.out, task, settings.seed, args.episodes_per_task) for task in tasks
    }
    # Task by task within each round, so that a recording cut short is balanced.
    left = {task: deque(plan.seeds()) for task, plan in plans.items()}
    jobs: deque[tuple[Path, str, int]] = deque()
    while any(left.values()):
        for task, seeds in left.items():
            taken = [seeds.popleft() for _ in range(min(ROUNDS[settings.world], len(seeds)))]
            jobs.extend((args.out, task, seed) for seed in taken)
    total = len(tasks) * args.episodes_per_task
    there = sum(plan.kept for plan in plans.values())
    started, recorded, succeeded = time.monotonic(), 0, 0
    revision = git_says("describe", "--always", "--dirty")
    outcomes = results(
        jobs,
        _record_one,
        args.workers,
        _start_worker,
        (settings, table_file, revision),
        finish=True,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ProgressLine("demonstrations", total) as line:
            line.update(there)
            for task, kept, success in outcomes:
                plans[task].add(kept)
                jobs.extend((args.out, task, seed) for seed in plans[task].seeds())
                recorded, succeeded = recorded + 1, succeeded + success
                rate = 60.0 * recorded / (time.monotonic() - started)
                there = sum(plan.kept for plan in plans.values())
                line.update(there, f"{rate:.0f} episodes/min, {succeeded}/{recorded} succeeded")
    except WorkerDied as error:
        raise DemonstrationsError(f"{error}; run again to continue") from None
    finally:
        # Running episodes take a second or two to end, and end whole.
        outcomes.close()
    failed = sum(plan.done - plan.kept for plan in plans.values())
    print(f"{args.out}: {there} episodes of {len(tasks)} tasks, {failed} failed (in failed/)")
    return 0


_recorder: DemonstrationRecorder | LiberoRecorder
_settings: Settings
_meta: dict[str, str]


def _start_worker(settings: Settings, table: Path, revision: str) -> None:
    global _recorder, _settings, _meta
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start_worker()
    given = load_stream_table(table), settings.streams, _load_learner(settings)
    if settings.world == "libero":
        from multismolvla.training.demonstrations.libero_demonstration import LiberoRecorder

        _recorder = LiberoRecorder(*given)
    else:
        _recorder = DemonstrationRecorder(*given)
    _settings, _meta = settings, {"git_revision": revision}


def _load_learner(settings: Settings) -> Learner | None:
    if settings.policy == "expert":
        return None
    arm = find_world(settings.world).embodiment
    # torch, only where it is needed.
    if settings.privileged:
        from multismolvla.training.demonstrations.privileged_policy import PrivilegedPolicy

        policy = PrivilegedPolicy.load(settings.policy, arm, threads=1, seed=settings.seed)
    else:
        policy = load_policy(settings.policy, arm, device="cpu", threads=1, noise_scale=1.0)
    return Learner(
        policy, settings.policy, settings.expert_share, settings.stream_loss, settings.privileged
    )


def _record_one(job: tuple[Path, str, int]) -> tuple[str, bool, bool]:
    """Record and write an episode: its task, whether it counts, whether it succeeded."""
    out, task, seed = job
    episode = _recorder.record(task, seed, _settings.noise, _meta)
    # A learner's failures are what it has to learn from.
    kept = episode.success or _settings.policy != "expert"
    write_episode(bag_folder(out, task, seed, kept), episode)
    return task, kept, episode.success
