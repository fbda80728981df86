"""The option that chooses what pictures are compared with the joints by, of several commands."""

from __future__ import annotations

import argparse

from multismolvla.pose_check.check import SIMULATION


def add_pose_check(
    parser: argparse._ActionsContainer, default: str = SIMULATION, default_is: str = SIMULATION
) -> None:
    """Declare `--pose-check`, for `pose_check.check.find_weights`."""
    parser.add_argument(
        "--pose-check",
        default=default,
        metavar="WEIGHTS",
        help="masks pictures that do not fit the joints: simulation, none, or a file of "
        f"multismolvla pose-check (default: {default_is})",
    )
