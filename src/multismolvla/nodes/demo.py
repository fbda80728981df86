"""Pick and place from a language instruction in simulation, over the whole stack.

Brings everything up without a window, performs the episodes, kills RGB cameras in the middle of one
of them, and writes what happened: film.mp4, contact_sheet.png, timeline.png, result.json.
The exit status is 0 only if every episode succeeded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import rclpy
from ament_index_python.packages import get_package_share_directory
from rclpy.signals import SignalHandlerOptions

from multismolvla.argument_types import positive
from multismolvla.embodiment.description import Embodiment
from multismolvla.evaluation.wilson import wilson_interval
from multismolvla.nodes.demo_show import SHOWS, Show
from multismolvla.nodes.episode_runner import EpisodeRunner, StackError
from multismolvla.nodes.run import stop_on_signal
from multismolvla.nodes.status_line import StatusLine
from multismolvla.pictures.episode_log import EpisodeLog
from multismolvla.pictures.film import write_contact_sheet, write_film
from multismolvla.pictures.timeline import write_timeline
from multismolvla.stack.bringup_process import NO_TASK, BringupProcess
from multismolvla.stack.policy_loading import find_policy
from multismolvla.stack.worlds import find_world
from multismolvla.streams import StreamTable, load_stream_table

FILM_RATE_HZ = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--world",
        choices=tuple(SHOWS),
        default="tabletop",
        help="simulated world (default: tabletop); libero needs 'multismolvla libero setup'",
    )
    parser.add_argument(
        "--episodes",
        type=positive,
        metavar="N",
        help="episodes (default: 5; of LIBERO 1)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="seed of the first scene (default: 0)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/demo"),
        metavar="DIR",
        help="results (default: out/demo)",
    )
    parser.add_argument(
        "--policy",
        metavar="P",
        help="policy that drives: a name, folder, hub id or module:Class, as policy_node takes it "
        "(default: small; of LIBERO small-libero)",
    )
    parser.add_argument(
        "--task",
        metavar="T",
        help=f"instruction (default: {SHOWS['tabletop'].task}; of LIBERO {SHOWS['libero'].task})",
    )


def main(args: argparse.Namespace) -> int:
    show, world = SHOWS[args.world], find_world(args.world)
    args.policy = args.policy or world.policy
    args.task = args.task or show.task
    args.episodes = args.episodes or show.episodes
    try:
        # Known at once, not after the stack has come up.
        world.find(args.task)
        find_policy(args.policy)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "launch.log").write_text("")
    except OSError as error:
        print(f"error: --out {args.out}: {error.strerror}; name a folder", file=sys.stderr)
        return 1
    table = load_stream_table(
        Path(get_package_share_directory("multismolvla")) / "config" / world.config / "streams.yaml"
    )
    launch_arguments = {"policy": args.policy, "task": NO_TASK, "seed": str(args.seed)}
    launch_arguments |= show.arguments
    try:
        episodes = _perform(args, table, launch_arguments, show, world.embodiment)
    except KeyboardInterrupt:
        print("interrupted; the stack is down, the arm was holding", file=sys.stderr)
        return 130
    except (StackError, RuntimeError) as error:
        print(f"error: {error}\nsee {args.out / 'launch.log'}", file=sys.stderr)
        return 1
    return _report(args, table, world.embodiment, episodes)


def _perform(
    args: argparse.Namespace,
    table: StreamTable,
    launch_arguments: dict[str, str],
    show: Show,
    arm: Embodiment,
) -> list[EpisodeLog]:
    """Bring the stack up, run every episode, take it down."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    stop = stop_on_signal()

    def check() -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        bringup.check()

    episodes = []
    try:
        with (
            StatusLine(args.episodes) as line,
            BringupProcess(launch_arguments, args.out / "launch.log") as bringup,
            contextlib.closing(
                EpisodeRunner(table, FILM_RATE_HZ, line.sample, check, arm, show.simulated)
            ) as runner,
        ):
            line.say("bringing the stack up ...")
            runner.wait_ready(show.ready_s)
            for index in range(args.episodes):
                line.begin(index + 1)
                damaged = index == args.episodes // 2
                episodes.append(
                    runner.run_episode(
                        args.task,
                        args.seed + index,
                        show.timeout_s,
                        cut=show.cut if damaged else (),
                        cut_after_s=show.cut_after_s,
                    )
                )
                line.end(episodes[-1])
    finally:
        rclpy.try_shutdown()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
    return episodes


def _report(
    args: argparse.Namespace, table: StreamTable, arm: Embodiment, episodes: list[EpisodeLog]
) -> int:
    write_contact_sheet(args.out / "contact_sheet.png", table, episodes)
    write_timeline(args.out / "timeline.png", table, arm, episodes)
    write_film(args.out / "film.mp4", table, episodes, FILM_RATE_HZ)
    successes = sum(episode.success for episode in episodes)
    low, high = wilson_interval(successes, len(episodes))
    result = {
        "world": args.world,
        "policy": args.policy,
        "task": args.task,
        "successes": successes,
        "episodes": [
            {
                "seed": episode.seed,
                "success": episode.success,
                "time_to_success_s": episode.success_time_s,
                "cut": list(episode.fault[1]) if episode.fault else [],
            }
            for episode in episodes
        ],
        "wilson_95": [low, high],
        "load_average": os.getloadavg(),
    }
    (args.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"{successes}/{len(episodes)} succeeded (95 % interval {low:.0%} to {high:.0%}); "
        f"film, contact sheet, timeline and result are in {args.out}"
    )
    return 0 if successes == len(episodes) else 1
