"""Complete a recording that was cut off, so that every tool can read it again.

`multismolvla bag recover out/bag` writes `out/bag_recovered` with all messages that are whole,
their types and the QoS of their topics; the recording itself stays as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rosbags.rosbag2 import StoragePlugin, Writer

from multismolvla.data.bag_messages import typestore
from multismolvla.data.recorded_bag import BagError, RecordedBag, open_bag

# What MCAP files do not say of types that are none of ROS 2's own; readers do not look at it.
UNKNOWN_HASH = "RIHS01_" + "0" * 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder of the bag, or an MCAP file")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the new bag's folder (default: BAG_recovered)"
    )


def main(args: argparse.Namespace) -> int:
    """Recover a bag. Exit status 0, or 1 for an error."""
    out = args.out or args.bag.with_name(f"{args.bag.stem}_recovered")
    try:
        bag = open_bag(args.bag)
        messages, lasts_s = recover(bag, out)
    except (BagError, OSError) as error:
        print(f"multismolvla bag recover: {error}", file=sys.stderr)
        return 1
    print(f"{args.bag}: {bag.damage or 'it was whole'}")
    print(f"{out}: {messages} messages on {len(bag.topics)} topics, {lasts_s:.1f} s")
    return 0


def recover(bag: RecordedBag, out: Path) -> tuple[int, float]:
    """Write a finished copy; return its number of messages and how many seconds it lasts.

    Raises:
        BagError: the folder exists already.
    """
    if out.exists():
        raise BagError(f"{out}: exists already; choose another with --out")
    known = typestore()
    times_ns = []
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}
        for name, topic in bag.topics.items():
            standard = topic.type_name in known.types
            connections[name] = writer.add_connection(
                name,
                topic.type_name,
                msgdef=None if standard else topic.definition,
                rihs01=None if standard else UNKNOWN_HASH,
                typestore=known if standard else None,
                offered_qos_profiles=topic.qos,
            )
        for name, stamp_ns, data in bag.messages(bag.topics):
            writer.write(connections[name], stamp_ns, data)
            times_ns.append(stamp_ns)
    return len(times_ns), (max(times_ns) - min(times_ns)) * 1e-9 if times_ns else 0.0
