"""The options that several commands share: settings, stream table, pose check."""

from __future__ import annotations

import argparse
from pathlib import Path

from multismolvla.pose_check.check import SIMULATION
from multismolvla.stack.settings import shipped_config


def add_config(parser: argparse._ActionsContainer) -> None:
    """Declare `--config`, for `settings.load_settings`."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FOLDER",
        help="settings of the nodes, a folder of parameter files like config/ "
        "(default: the installed one)",
    )


def add_streams(parser: argparse._ActionsContainer) -> None:
    """Declare `--streams`, the stream table of every command, for `stream_table_file`."""
    parser.add_argument(
        "--streams", type=Path, metavar="FILE", help="stream table (default: the installed one)"
    )


def stream_table_file(given: Path | None) -> Path:
    """The file that was given, else the installed one.

    Raises:
        ValueError: as `shipped_config`.
    """
    return shipped_config() / "streams.yaml" if given is None else given


def add_pose_check(
    parser: argparse._ActionsContainer, default: str = SIMULATION, default_is: str = SIMULATION
) -> None:
    """Declare `--pose-check`, for `pose_check.check.find_weights`."""
    parser.add_argument(
        "--pose-check",
        default=default,
        metavar="WEIGHTS",
        help="mask frames that do not fit the joints: simulation, none, or weights of "
        f"multismolvla pose-check (default: {default_is})",
    )
