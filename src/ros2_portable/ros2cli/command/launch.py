"""Run a launch file."""

import argparse
import glob
import os
import sys

from ament_index_python.packages import get_packages_with_prefixes
from launch import LaunchContext, LaunchDescription, LaunchService
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import InvalidLaunchFileError, LaunchDescriptionSource
from launch.substitutions import describe

_FLAGS = {
    ("-n", "--noninteractive"): "run without a terminal",
    ("-d", "--debug"): "show more, with tracebacks",
    ("-s", "--show-args", "--show-arguments"): "show the launch file's arguments and end",
    ("-a", "--show-all-subprocesses-output"): "show the output of all processes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `ros2 launch`."""
    for names, text in _FLAGS.items():
        parser.add_argument(*names, action="store_true", help=text)
    parser.add_argument("package_name", help="name of the package, or path of a launch file")
    parser.add_argument("launch_file_name", nargs="?", help="name of the launch file")
    parser.add_argument("launch_arguments", nargs="*", help="<name>:=<value>; the last one wins")


def main(args: argparse.Namespace) -> int:
    """Run or describe the launch file; return 1 after bad input or a failed launch."""
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    words = [word for word in [args.launch_file_name, *args.launch_arguments] if word]
    try:
        source = LaunchDescriptionSource(_find(args.package_name, words))
        arguments = dict(_split(word) for word in words)
        if args.show_args:
            _show(source.get_launch_description(LaunchContext()).get_launch_arguments())
            return 0
    except (OSError, ValueError, InvalidLaunchFileError) as error:
        print(f"ros2 launch: {error}", file=sys.stderr)
        return 1
    if args.show_all_subprocesses_output:
        os.environ["OVERRIDE_LAUNCH_PROCESS_OUTPUT"] = "both"
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
        raise ValueError(f"'{package}' is neither an installed package nor a launch file")
    share = os.path.join(prefixes[package], "share", package)
    name = words.pop(0) if words else "*launch.py"
    found = sorted(glob.glob(os.path.join(glob.escape(share), "**", name), recursive=True))
    if len(found) != 1:
        raise ValueError(f"file '{name}': expected one in '{share}', found {len(found)}: {found}")
    return found[0]


def _split(word: str) -> tuple[str, str]:
    name, separator, value = word.partition(":=")
    if not name or not separator:
        raise ValueError(f"malformed launch argument '{word}', expected format '<name>:=<value>'")
    return name, value


def _show(arguments: list[DeclareLaunchArgument]) -> None:
    print("Arguments (pass arguments as '<name>:=<value>'):")
    for each in arguments:
        star = "*" if each._conditionally_included else ""
        print(f"\n    '{each.name}':{star}\n        {each.description}")
        if each.default_value is not None:
            default = describe(each.default_value)
            print(f"        (default: {default})")
    if not arguments:
        print("\n  No arguments.")
    elif any(each._conditionally_included for each in arguments):
        print("\n* argument(s) which are only used if specific conditions occur")
