"""Options for what a LeRobot data set of somebody else does not say: units, calibration, names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from multismolvla.data.lerobot_set import Given
from multismolvla.embodiment.lerobot_units import UNITS
from multismolvla.embodiment.so101 import SO101
from multismolvla.robot.calibration import load_calibration


def add_given(parser: Any) -> None:
    """Declare `--units`, `--calibration` and `--joints`."""
    parser.add_argument(
        "--units",
        choices=UNITS,
        default="",
        help="units of joints, needed unless the values leave no doubt; normalized is LeRobot's "
        "-100 to 100. A gripper is in per cent but for radians; an arm without joints has its own",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="of the arm that recorded, for --units normalized",
    )
    parser.add_argument(
        "--joints",
        nargs="+",
        default=(),
        metavar="NAME",
        help="names of the numbers in their order, for a set that has none or others",
    )


def given_of(args: argparse.Namespace) -> Given:
    """What the options say.

    Raises:
        CalibrationError: the calibration cannot be read, or is not of this arm.
    """
    travel_rad = None
    if args.calibration is not None:
        travel_rad = load_calibration(args.calibration).travel_rad
        if args.embodiment.joint_names != SO101.joint_names:
            raise ValueError(
                f"{args.calibration}: is of {SO101.name}; the arm '{args.embodiment.name}' has "
                f"the joints {', '.join(args.embodiment.joint_names)}"
            )
    return Given(args.units, travel_rad, tuple(args.joints))
