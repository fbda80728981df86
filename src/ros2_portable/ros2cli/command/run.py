"""Run a package specific executable."""

import argparse
import os
import shlex
import sys

from ament_index_python.packages import PackageNotFoundError
from launch import LaunchContext
from launch.substitutions import SubstitutionFailure
from launch_ros.substitutions import ExecutableInPackage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `ros2 run`."""
    parser.add_argument("--prefix", default="", help="command that runs the executable, as gdb")
    parser.add_argument("package_name", help="name of the ROS package")
    parser.add_argument("executable_name", help="name of the executable")
    parser.add_argument("argv", nargs=argparse.REMAINDER, help="arguments of the executable")


def main(args: argparse.Namespace) -> int:
    """Become the executable, so that signals and its exit code pass as they are."""
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    find = ExecutableInPackage(args.executable_name, args.package_name)
    try:
        command = [*shlex.split(args.prefix), find.perform(LaunchContext()), *args.argv]
        os.execvp(command[0], command)
    except PackageNotFoundError:
        print(f"Package '{args.package_name}' not found", file=sys.stderr)
    except (SubstitutionFailure, OSError, ValueError) as error:
        print(f"No executable found: {error}", file=sys.stderr)
    return 1
