"""The options that several commands share: settings, stream table, pose check."""

from __future__ import annotations

import argparse
from pathlib import Path

from multismolvla.pose_check.check import SIMULATION
from multismolvla.stack.settings import StackSettings, or_shipped


def add_config(parser: argparse._ActionsContainer) -> None:
    """Declare `--config`, for `settings.load_settings`."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FOLDER",
        help="settings of the nodes, a folder of parameter files and a stream table like config/ "
        "(default: the installed one)",
    )


def add_streams(parser: argparse._ActionsContainer) -> None:
    """Declare `--streams`, the stream table of every command, for `stream_table_file`."""
    parser.add_argument(
        "--streams", type=Path, metavar="FILE", help="stream table (default: the installed one)"
    )


def stream_table_file(given: Path | None, settings: StackSettings | None = None) -> Path:
    """The file that was given, else that of the folder of `--config`, else the installed one.

    Raises:
        ValueError: as `shipped_config`.
    """
    return or_shipped(given) if given else (settings or StackSettings()).file("streams.yaml")


def add_pose_check(
    parser: argparse._ActionsContainer,
    default: str | None = SIMULATION,
    default_is: str = SIMULATION,
) -> None:
    """Declare `--pose-check`, for `pose_check.check.find_weights`."""
    parser.add_argument(
        "--pose-check",
        default=default,
        metavar="WEIGHTS",
        help="mask frames that do not fit the joints: simulation, none, or weights of "
        f"multismolvla pose-check (default: {default_is})",
    )
