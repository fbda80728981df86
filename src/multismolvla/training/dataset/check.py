"""`multismolvla dataset check DIR`: everything that is wrong or odd in a LeRobot data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from multismolvla.argument_types import add_embodiment
from multismolvla.data.lerobot_check import check_set
from multismolvla.doctor import add_json_argument, error, report
from multismolvla.training.dataset.given import add_given, given_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Exit status 0: nothing wrong; 1: warnings, the data set is read; 2: errors, it is refused."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="LeRobot data set v3.0")
    add_embodiment(parser)
    add_given(parser)
    add_json_argument(parser)


def main(args: argparse.Namespace) -> int:
    """Print the report and return the exit status."""
    try:
        given = given_of(args)
    except ValueError as wrong:
        return report(args.folder, [error("--calibration", "", wrong)], as_json=args.json)
    facts, findings = check_set(args.folder, args.embodiment, given)
    return report(args.folder, findings, as_json=args.json, facts=facts)
