"""The `ros2` command: finds the module of a command and hands over to one of its verbs."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

# Command -> the module that registers its verbs.
COMMANDS = {"bag": "bag", "launch": "launching", "node": "nodes", "param": "nodes"}
COMMANDS |= {"run": "launching", "service": "nodes", "topic": "topic"}
_Run = Callable[[argparse.Namespace], int | None]
_verbs: dict[tuple[str, ...], tuple[_Run, tuple]] = {}


class CommandError(Exception):
    """What the user should know, in one line; ends the command with status 1."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        package = "ros-jazzy-ros2" + self.prog.split()[1]
        self.exit(2, f"{self.prog}: {message} (the complete command is in {package})\n")


def argument(*names: str, **options: object) -> tuple:
    """Return the arguments of an `add_argument` call, for `verb`."""
    return names, options


def verb(words: str, *arguments: tuple) -> Callable[[_Run], _Run]:
    """Register the decorated function, such as `topic list`; its docstring is the help."""

    def register(run: _Run) -> _Run:
        _verbs[tuple(words.split())] = run, arguments
        return run

    return register


def _parser(command: str) -> argparse.ArgumentParser:
    importlib.import_module(f"ros2cli.{COMMANDS[command]}")
    root, subparsers = _Parser(prog=f"ros2 {command}"), None
    for (name, *rest), (run, arguments) in _verbs.items():
        if name != command:
            continue
        parser = root
        if rest:
            subparsers = subparsers or root.add_subparsers(metavar="VERB", required=True)
            parser = subparsers.add_parser(rest[0], help=run.__doc__, description=run.__doc__)
        parser.set_defaults(run=run)
        for names, options in arguments:
            parser.add_argument(*names, **options)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run `ros2 argv...` and return its exit status."""
    command, *words = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help"):
        print(f"usage: ros2 COMMAND ...\n\ncommands: {', '.join(COMMANDS)}")
        return 0
    try:
        if command not in COMMANDS:
            raise CommandError(
                f"unknown command; this stand-in has {', '.join(COMMANDS)}, "
                "all others come with ros-jazzy-ros2cli-common-extensions"
            )
        if command in ("service", "topic"):
            # Read when message classes are imported; without it a wrong value is sent as garbage.
            os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
        args = _parser(command).parse_args(words)
        return args.run(args) or 0
    except CommandError as error:
        print(f"ros2 {command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 2
    except BrokenPipeError:
        # The reader, such as `head`, is gone; keep the interpreter from flushing into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
