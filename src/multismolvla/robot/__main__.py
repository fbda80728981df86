"""`so101`: scan the servo bus, set ids, calibrate, move, monitor, or emulate an arm."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from multismolvla.embodiment.so101 import SO101
from multismolvla.robot import commands
from multismolvla.robot.calibration import CalibrationError
from multismolvla.robot.calibration_session import calibrate
from multismolvla.robot.errors import BusError
from multismolvla.robot.protocol import MAX_ID

DEFAULT_PORT = "/dev/ttyACM0"
DEFAULT_CALIBRATION = Path.home() / ".ros" / "so101_calibration.json"

EXAMPLES = """
examples:
  so101 scan                            which servos answer
  so101 set-id 1 5                      the only connected servo 1 becomes 5 (wrist_roll)
  so101 calibrate                       mid pose, then sweep every joint
  so101 move gripper=0.5 wrist_roll=0   radians; slowly, then hold
  so101 monitor                         positions, loads, voltages, temperatures
  so101 emulate --port /tmp/so101       an emulated arm, for the commands above without an arm
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0 done, 1 a bus or calibration error, 130 Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (BusError, CalibrationError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except EOFError:
        print("\nerror: this command asks a question; run it in a terminal", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # Servos keep their goals and their torque, so that the arm does not drop.
        print("\nended; servos that were holding keep holding", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--port", default=DEFAULT_PORT, help="serial port of the arm (default %(default)s)"
    )
    calibrated = argparse.ArgumentParser(add_help=False)
    calibrated.add_argument(
        "--calibration",
        type=Path,
        default=DEFAULT_CALIBRATION,
        metavar="FILE",
        help="calibration in LeRobot's JSON format (default %(default)s)",
    )
    parser = argparse.ArgumentParser(
        prog="so101",
        description="Set up and check an SO-101 arm on its Feetech servo bus.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    scan = verbs.add_parser("scan", parents=[common], help="list the servos that answer")
    scan.add_argument(
        "--all", action="store_true", help=f"try every id up to {MAX_ID}, not only 0 to 20"
    )
    scan.set_defaults(run=commands.scan)

    set_id = verbs.add_parser(
        "set-id",
        parents=[common],
        help="give a servo another id",
        description="Give a servo another id, kept at power-off. Joints have the ids "
        + ", ".join(f"{index + 1} {name}" for index, name in enumerate(SO101.joint_names))
        + ". New servos all have id 1: connect them one at a time.",
    )
    set_id.add_argument("old", type=_servo_id, help="id that the servo has")
    set_id.add_argument("new", type=_servo_id, help="id that it gets")
    set_id.set_defaults(run=commands.set_id)

    calibration = verbs.add_parser(
        "calibrate", parents=[common, calibrated], help="measure zero and travel of every joint"
    )
    calibration.set_defaults(run=calibrate)

    restore = verbs.add_parser(
        "restore", parents=[common, calibrated], help="write a calibration file into the servos"
    )
    restore.set_defaults(run=commands.restore)

    move = verbs.add_parser(
        "move",
        parents=[common, calibrated],
        help="move joints slowly and hold",
        description="Move joints to angles in radians, slowly, the others stay. Limits: "
        + ", ".join(
            f"{joint.name} {joint.lower_rad:.2f} to {joint.upper_rad:.2f}" for joint in SO101.joints
        ),
    )
    move.add_argument("targets", nargs="+", type=_target, metavar="JOINT=RADIANS")
    move.add_argument(
        "--speed", type=_speed, default=0.5, help="rad/s of the fastest joint (default %(default)s)"
    )
    move.set_defaults(run=commands.move)

    monitor = verbs.add_parser(
        "monitor", parents=[common, calibrated], help="live table of all servos"
    )
    monitor.set_defaults(run=commands.monitor)

    emulate = verbs.add_parser(
        "emulate", help="offer an emulated arm on a pseudo-terminal until Ctrl-C"
    )
    emulate.add_argument("--port", required=True, help="path of the link to create for it")
    emulate.set_defaults(run=commands.emulate)
    return parser


def _servo_id(text: str) -> int:
    if not text.isdigit() or not 0 <= int(text) <= MAX_ID:
        raise argparse.ArgumentTypeError(f"id is '{text}'; expected 0 to {MAX_ID}")
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.01 <= speed <= 3.0:
        raise argparse.ArgumentTypeError(f"speed is '{text}'; expected 0.01 to 3 rad/s")
    return speed


def _target(text: str) -> tuple[int, float]:
    name, _, value = text.partition("=")
    if name not in SO101.joint_names:
        raise argparse.ArgumentTypeError(
            f"'{text}' names no joint; expected JOINT=RADIANS with one of "
            + ", ".join(SO101.joint_names)
        )
    joint = SO101.joint_names.index(name)
    low, high = float(SO101.lower_rad[joint]), float(SO101.upper_rad[joint])
    try:
        angle = float(value)
    except ValueError:
        angle = float("nan")
    if not low <= angle <= high:
        raise argparse.ArgumentTypeError(
            f"{name} is '{value}'; expected {low:.2f} to {high:.2f} radians"
        )
    return joint, angle


if __name__ == "__main__":
    sys.exit(main())
