"""ros2 bag: record, play and describe bags (MCAP)."""

import argparse
import contextlib
import re
import signal
import time
from pathlib import Path

import rclpy
import yaml
from rclpy.executors import ExternalShutdownException
from ros2cli import graph
from ros2cli.cli import CommandError, argument, verb
from ros2cli.playback import Player, open_bag
from ros2cli.recording import Recorder
from rosbags.rosbag2 import StoragePlugin, Writer


@verb(
    "bag record",
    argument("topics", nargs="*"),
    argument("-a", "--all", action="store_true", help="all topics that are not hidden"),
    argument("-o", "--output", type=Path, help="the bag's folder; rosbag2_<time> if absent"),
    argument("-s", "--storage", choices=["mcap"], default="mcap"),
)
def record(args: argparse.Namespace) -> None:
    """Record topics until Ctrl-C."""
    path = args.output or Path(time.strftime("rosbag2_%Y_%m_%d-%H_%M_%S"))
    if not (args.topics or args.all):
        raise CommandError("nothing to record: name topics or use --all")
    if path.exists():
        raise CommandError(f"the output {path} exists already; choose another with -o")
    names = {graph.full_name(topic) for topic in args.topics}

    def wanted(topic: str) -> bool:
        return topic in names or (args.all and not graph.is_hidden(topic))

    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    try:
        with graph.cli_node("rosbag2_recorder") as node, writer:
            Recorder(node, writer, wanted)
            with contextlib.suppress(ExternalShutdownException, KeyboardInterrupt):
                rclpy.spin(node)  # Ctrl-C is how a recording ends.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # The bag is worth the moment of closing.
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error}") from None
    print(f"Recording stopped: {path}")


@verb(
    "bag play",
    argument("bag", type=Path),
    argument("-r", "--rate", type=float, default=1.0),
    argument("-l", "--loop", action="store_true"),
    argument("-m", "--remap", nargs="+", default=[], metavar="OLD:=NEW"),
    argument("--clock", type=float, nargs="?", const=40.0, default=0.0, metavar="HZ"),
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
        player = Player(node, reader, args.clock)
        player.play(args.rate)
        while args.loop and rclpy.ok():
            player.play(args.rate)


@verb("bag info", argument("bag", type=Path))
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
