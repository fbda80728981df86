"""Record, play and describe bags (MCAP)."""

import argparse
import re
import signal
import time
from pathlib import Path

import rclpy
import yaml
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from ros2cli import graph
from ros2cli.cli import CommandError, Verbs, argument
from ros2cli.playback import Player, open_bag
from ros2cli.recording import Recorder

_verbs = Verbs()
add_arguments, main = _verbs.add_arguments, _verbs.main


@_verbs.verb(
    "record",
    argument("topics", nargs="*"),
    argument("-a", "--all", action="store_true", help="all topics that are not hidden"),
    argument("-e", "--regex", help="topics that contain a match"),
    argument("-o", "--output", type=Path, help="the bag's folder; rosbag2_<time> if absent"),
    argument("-s", "--storage", choices=["mcap"], default="mcap"),
    argument("--use-sim-time", action="store_true", help="stamp with /clock"),
)
def record(args: argparse.Namespace) -> None:
    """Record topics until Ctrl-C."""
    path = args.output or Path(time.strftime("rosbag2_%Y_%m_%d-%H_%M_%S"))
    if not (args.topics or args.all or args.regex):
        raise CommandError("nothing to record: name topics, or use --all or --regex")
    if path.exists():
        raise CommandError(f"the output {path} exists already; choose another with -o")
    names = {graph.full_name(topic) for topic in args.topics}
    try:
        pattern = re.compile(args.regex or r"$^")
    except re.error as error:
        raise CommandError(f"--regex {args.regex!r} is no regular expression: {error}") from None

    def wanted(topic: str) -> bool:
        visible = args.all and not graph.is_hidden(topic)
        return visible or topic in names or pattern.search(topic) is not None

    sim_time = Parameter("use_sim_time", value=args.use_sim_time)
    with graph.cli_node("rosbag2_recorder", parameter_overrides=[sim_time]) as node:
        recorder = Recorder(node, path, wanted, args.use_sim_time)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            while rclpy.ok() and recorder.thread.is_alive():
                executor.spin_once(timeout_sec=0.2)
        except (ExternalShutdownException, KeyboardInterrupt):
            pass  # Ctrl-C is how a recording ends.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # The bag is worth the moment that closing takes.
        recorder.close()
    print(f"Recording stopped: {path}")
    if recorder.dropped:
        raise CommandError(f"{recorder.dropped} messages lost: the disk was too slow for them")


@_verbs.verb(
    "play",
    argument("bag", type=Path),
    argument("-r", "--rate", type=float, default=1.0),
    argument("-l", "--loop", action="store_true"),
    argument("-m", "--remap", nargs="+", default=[], metavar="OLD:=NEW"),
    argument("--clock", type=float, nargs="?", const=40.0, default=0.0, metavar="HZ"),
    argument("--topics", nargs="+", default=[]),
    argument("--start-offset", type=float, default=0.0, help="seconds to leave out"),
    argument("-d", "--delay", type=float, default=0.0, help="seconds to wait before"),
)
def play(args: argparse.Namespace) -> None:
    """Play a bag."""
    if args.rate <= 0:
        raise CommandError(f"--rate {args.rate}: expected more than 0")
    for rule in args.remap:
        if not re.fullmatch(r"\S+:=\S+", rule):
            raise CommandError(f"--remap {rule}: expected OLD:=NEW")
    remaps = [word for rule in args.remap for word in ("-r", rule)]
    ros_args = ["--ros-args", *remaps] if remaps else []
    with open_bag(args.bag) as reader, graph.cli_node("rosbag2_player", cli_args=ros_args) as node:
        player = Player(node, reader, args.topics, args.clock)
        graph.wait_for(lambda: False, args.delay)
        player.play(args.rate, args.start_offset)
        while args.loop and rclpy.ok():
            player.play(args.rate, args.start_offset)


@_verbs.verb("info", argument("bag", type=Path))
def info(args: argparse.Namespace) -> None:
    """Print what a bag contains."""
    bag = open_bag(args.bag).path
    text = (bag / "metadata.yaml").read_text("utf-8")
    about = yaml.safe_load(text)["rosbag2_bagfile_information"]
    size = sum((bag / name).stat().st_size for name in about["relative_file_paths"])
    start = about["starting_time"]["nanoseconds_since_epoch"] / 1e9 if about["message_count"] else 0
    duration = about["duration"]["nanoseconds"] / 1e9
    topics = [
        f"Topic: {item['topic_metadata']['name']} | Type: {item['topic_metadata']['type']} | "
        f"Count: {item['message_count']} | "
        f"Serialization Format: {item['topic_metadata']['serialization_format']}"
        for item in about["topics_with_message_count"]
    ]
    rows = {
        "Files": ", ".join(about["relative_file_paths"]),
        "Bag size": f"{size / 2**10:.1f} KiB" if size < 2**20 else f"{size / 2**20:.1f} MiB",
        "Storage id": about["storage_identifier"],
        "Duration": f"{duration:.3f}s",
        "Start": _date(start),
        "End": _date(start + duration),
        "Messages": about["message_count"],
        "Topic information": f"\n{'':19}".join(topics),
    }
    print("\n" + "\n".join(f"{name + ':':19}{value}" for name, value in rows.items()))


def _date(seconds: float) -> str:
    return f"{time.strftime('%b %e %Y %H:%M:%S', time.localtime(seconds))} ({seconds:.3f})"
