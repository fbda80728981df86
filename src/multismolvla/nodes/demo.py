"""Pick and place from a language instruction in simulation, over the whole stack.

Brings everything up without a window, performs the episodes, kills the RGB cameras in the middle of
one of them, and writes what happened: film.mp4, contact_sheet.png, timeline.png, result.json.
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
from rich.console import Console
from rich.live import Live
from rich.text import Text

from multismolvla.argument_types import positive
from multismolvla.evaluation.contact_sheet import write_contact_sheet
from multismolvla.evaluation.episode_log import EpisodeLog, Sample
from multismolvla.evaluation.film import write_film
from multismolvla.evaluation.timeline import write_timeline
from multismolvla.evaluation.wilson import wilson_interval
from multismolvla.nodes.bringup_process import NO_TASK, BringupProcess
from multismolvla.nodes.episode_runner import EpisodeRunner, StackError
from multismolvla.nodes.run import stop_on_signal
from multismolvla.policy.shipped import NotShippedError, shipped_folder
from multismolvla.streams import StreamTable, load_stream_table

FILM_RATE_HZ = 10
# A clean episode takes 3 to 5 s; the cut comes when the arm is on its way.
CUT_AFTER_S = 1.5
EPISODE_TIMEOUT_S = 45.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("--episodes", type=positive, default=5, metavar="N", help="episodes")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the first scene")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="results")
    parser.add_argument(
        "--policy",
        default="small",
        metavar="P",
        help="policy that drives: small, expert, or the folder of a checkpoint",
    )
    parser.add_argument(
        "--task", default="put the red cube in the bin", metavar="T", help="instruction"
    )


class StatusLine:
    """One live line about the running episode; on a plain pipe, a line per event."""

    def __init__(self, table: StreamTable, episodes: int) -> None:
        self._table = table
        self._episodes = episodes
        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._successes = 0
        self._number = 0
        self._last_event = ""

    def __enter__(self) -> StatusLine:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        """Replace the live line, or print it where nothing is live."""
        if self._console.is_terminal:
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"))
        elif text != self._last_event:
            print(text, flush=True)
        self._last_event = text

    def begin(self, number: int) -> None:
        self._number = number

    def sample(self, episode: EpisodeLog, sample: Sample) -> None:
        """Show the newest sample; called at every one."""
        up = sum(sample.mask.values())
        down = "".join(
            f", {name} down ({sample.mask_reason[name] or 'masked'})"
            for name, used in sample.mask.items()
            if not used
        )
        head = f"[{self._number}/{self._episodes}]"
        streams = f"{up}/{len(self._table)} streams{down}"
        if self._console.is_terminal:
            # What changes comes first: a narrow terminal cuts the rest off.
            self.say(
                f"{head} {sample.time_s - episode.start_s:4.1f} s {sample.mode} | "
                f"queue {sample.queue_length:2d} | {sample.control_rate_hz:.0f} Hz, "
                f"{sample.latency_ms:.0f} ms | {self._successes}/{self._number - 1} ok | "
                f"{streams} | {episode.instruction}"
            )
        else:
            self.say(f"{head} {episode.instruction} | {streams} | {sample.mode}")

    def end(self, episode: EpisodeLog) -> None:
        self._successes += episode.success
        fault = f", {' and '.join(episode.fault[1])} cut" if episode.fault else ""
        outcome = f"success in {episode.success_time_s:.1f} s" if episode.success else "FAILED"
        self._console.print(
            f"episode {self._number}/{self._episodes}, seed {episode.seed}{fault}: {outcome}"
        )


def main(args: argparse.Namespace) -> int:
    try:
        shipped_folder(args.policy)  # known at once, not after the stack has come up
    except NotShippedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "launch.log").write_text("")
    except OSError as error:
        print(f"error: --out {args.out}: {error.strerror}; name a folder", file=sys.stderr)
        return 1
    table = load_stream_table(
        Path(get_package_share_directory("multismolvla")) / "config" / "streams.yaml"
    )
    launch_arguments = {"policy": args.policy, "task": NO_TASK, "seed": str(args.seed)}
    try:
        episodes = _perform(args, table, launch_arguments)
    except KeyboardInterrupt:
        print("interrupted; the stack is down, the arm was holding", file=sys.stderr)
        return 130
    except (StackError, RuntimeError) as error:
        print(f"error: {error}\nsee {args.out / 'launch.log'}", file=sys.stderr)
        return 1
    return _report(args, table, episodes)


def _perform(
    args: argparse.Namespace, table: StreamTable, launch_arguments: dict[str, str]
) -> list[EpisodeLog]:
    """Bring the stack up, run every episode, take it down."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    stop = stop_on_signal()

    def check() -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        bringup.check()

    cut = [stream.name for stream in table if stream.kind == "rgb"]
    episodes = []
    try:
        with (
            StatusLine(table, args.episodes) as line,
            BringupProcess(launch_arguments, args.out / "launch.log") as bringup,
            contextlib.closing(EpisodeRunner(table, FILM_RATE_HZ, line.sample, check)) as runner,
        ):
            line.say("bringing the stack up ...")
            runner.wait_ready()
            for index in range(args.episodes):
                line.begin(index + 1)
                damaged = index == args.episodes // 2
                episodes.append(
                    runner.run_episode(
                        args.task,
                        args.seed + index,
                        EPISODE_TIMEOUT_S,
                        cut=cut if damaged else (),
                        cut_after_s=CUT_AFTER_S,
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


def _report(args: argparse.Namespace, table: StreamTable, episodes: list[EpisodeLog]) -> int:
    write_contact_sheet(args.out / "contact_sheet.png", table, episodes)
    write_timeline(args.out / "timeline.png", table, episodes)
    write_film(args.out / "film.mp4", table, episodes, FILM_RATE_HZ)
    successes = sum(episode.success for episode in episodes)
    low, high = wilson_interval(successes, len(episodes))
    result = {
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
