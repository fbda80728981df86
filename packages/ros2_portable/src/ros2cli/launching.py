"""ros2 launch and ros2 run: start launch files and executables of packages."""

import argparse
import glob
import os
import shlex
import sys

from ament_index_python.packages import PackageNotFoundError, get_packages_with_prefixes
from launch import LaunchContext, LaunchDescription, LaunchService
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import InvalidLaunchFileError, LaunchDescriptionSource
from launch.substitutions import SubstitutionFailure, describe
from launch_ros.substitutions import ExecutableInPackage
from ros2cli.cli import CommandError, argument, verb


@verb(
    "launch",
    argument("-s", "--show-args", "--show-arguments", action="store_true", help="only describe"),
    argument("package_name", help="name of the package, or path of a launch file"),
    argument("launch_file_name", nargs="?", help="name of the launch file"),
    argument("launch_arguments", nargs="*", help="<name>:=<value>; the last one wins"),
)
def launch(args: argparse.Namespace) -> int:
    """Run or describe a launch file."""
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    words = [word for word in [args.launch_file_name, *args.launch_arguments] if word]
    source = LaunchDescriptionSource(_find(args.package_name, words))
    arguments = dict(_split(word) for word in words)
    if args.show_args:
        try:
            _show(source.get_launch_description(LaunchContext()).get_launch_arguments())
        except InvalidLaunchFileError as error:
            raise CommandError(error) from None
        return 0
    include = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    service = LaunchService(argv=words)
    service.include_launch_description(LaunchDescription([include]))
    return service.run()


def _find(package: str, words: list[str]) -> str:
    """Return the launch file's path; take its name off `words` if that is where it is."""
    prefixes = get_packages_with_prefixes()
    if package not in prefixes:
        if os.path.isfile(package):
            return package
        raise CommandError(f"'{package}' is neither an installed package nor a launch file")
    share = os.path.join(prefixes[package], "share", package)
    name = words.pop(0) if words else "*launch.py"
    found = sorted(glob.glob(os.path.join(glob.escape(share), "**", name), recursive=True))
    if len(found) != 1:
        raise CommandError(f"file '{name}': expected one in '{share}', found {len(found)}: {found}")
    return found[0]


def _split(word: str) -> tuple[str, str]:
    name, _, value = word.partition(":=")
    if not name or not value:
        raise CommandError(f"malformed launch argument '{word}', expected format '<name>:=<value>'")
    return name, value


def _show(arguments: list[DeclareLaunchArgument]) -> None:
    print("Arguments (pass arguments as '<name>:=<value>'):")
    for each in arguments:
        star = "*" if each._conditionally_included else ""
        print(f"\n    '{each.name}':{star}\n        {each.description}")
        if each.default_value is not None:
            print(f"        (default: {describe(each.default_value)})")
    if not arguments:
        print("\n  No arguments.")
    elif any(each._conditionally_included for each in arguments):
        print("\n* argument(s) which are only used if specific conditions occur")


@verb(
    "run",
    argument("--prefix", default="", help="command that runs the executable, as gdb"),
    argument("package_name"),
    argument("executable_name"),
    argument("argv", nargs=argparse.REMAINDER, help="arguments of the executable"),
)
def run(args: argparse.Namespace) -> None:
    """Become an executable of a package, so that signals and its exit code pass as they are."""
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    find = ExecutableInPackage(args.executable_name, args.package_name)
    try:
        command = [*shlex.split(args.prefix), find.perform(LaunchContext()), *args.argv]
        os.execvp(command[0], command)
    except PackageNotFoundError:
        raise CommandError(f"package '{args.package_name}' not found") from None
    except (SubstitutionFailure, OSError, ValueError) as error:
        raise CommandError(f"no executable found: {error}") from None
