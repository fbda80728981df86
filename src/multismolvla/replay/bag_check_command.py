"""Everything that is wrong or odd in a bag for this stack, with what to do about it.

Which topics are taken for what and which are not used, images that cannot be decoded or are not
sound, gaps, clocks that jump, what is missing for a replay or for training. The bag may be one of
this stack or of others.

  multismolvla bag check out/bag
  multismolvla bag check bag_of_others --topics rgb=/camera/color/image_raw --json

Exit status 0: nothing wrong; 1: warnings, the bag is read; 2: errors, it is of no use as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from multismolvla.argument_types import add_embodiment, add_topics
from multismolvla.data.bag_check import check_bag
from multismolvla.doctor import add_json_argument, error, report
from multismolvla.stack.command_options import add_config, add_streams, stream_table_file
from multismolvla.stack.settings import load_settings
from multismolvla.streams import load_stream_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder of a bag, or a file of it")
    add_embodiment(parser)
    parser.add_argument(
        "--namespace", default="", metavar="NS", help="namespace of the recorded topics"
    )
    add_topics(parser)
    add_config(parser)
    add_streams(parser)
    add_json_argument(parser)


def main(args: argparse.Namespace) -> int:
    """Print the report and return the exit status."""
    try:
        table = load_stream_table(stream_table_file(args.streams, load_settings(args.config)))
    except (ValueError, OSError) as wrong:
        return report(args.bag, [error("settings", "", wrong)], as_json=args.json)
    facts, findings = check_bag(args.bag, table, args.embodiment, args.namespace, dict(args.topics))
    return report(args.bag, findings, as_json=args.json, facts=facts)
