"""The `ros2` command: hands over to one module of ros2cli.command for each command."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

COMMANDS = ("bag", "launch", "node", "param", "run", "service", "topic")
_Run = Callable[[argparse.Namespace], int | None]


class CommandError(Exception):
    """What the user should know, in one line; ends the command with status 1."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        package = "ros-jazzy-ros2" + self.prog.split()[1]
        self.exit(2, f"{self.prog}: {message} (the complete command is in {package})\n")


def argument(*names: str, **options: object) -> tuple:
    """Return the arguments of an `add_argument` call, for `Verbs.verb`."""
    return names, options


class Verbs:
    """The verbs of one command; its methods serve as that module's add_arguments and main."""

    def __init__(self) -> None:
        self._verbs: dict[str, tuple[_Run, tuple]] = {}

    def verb(self, name: str, *arguments: tuple) -> Callable[[_Run], _Run]:
        """Register the decorated function, whose docstring is the verb's help."""

        def register(run: _Run) -> _Run:
            self._verbs[name] = run, arguments
            return run

        return register

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        subparsers = parser.add_subparsers(metavar="VERB", required=True)
        for name, (run, arguments) in self._verbs.items():
            verb = subparsers.add_parser(name, help=run.__doc__, description=run.__doc__)
            verb.set_defaults(run=run)
            for names, options in arguments:
                verb.add_argument(*names, **options)

    def main(self, args: argparse.Namespace) -> int | None:
        return args.run(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `ros2 argv...` and return its exit status."""
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(f"usage: ros2 COMMAND ...\n\n{__doc__}\n\ncommands: {', '.join(COMMANDS)}")
        return 0
    try:
        if name not in COMMANDS:
            raise CommandError(
                f"unknown command; this stand-in has {', '.join(COMMANDS)}, "
                "all others come with ros-jazzy-ros2cli-common-extensions"
            )
        if name in ("service", "topic"):
            # Read when message classes are imported; without it a wrong value is sent as garbage.
            os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
        command = importlib.import_module(f"ros2cli.command.{name}")
        parser = _Parser(prog=f"ros2 {name}", description=command.__doc__)
        command.add_arguments(parser)
        return command.main(parser.parse_args(arguments)) or 0
    except CommandError as error:
        print(f"ros2 {name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 2
    except BrokenPipeError:
        # The reader, such as `head`, is gone; keep the interpreter from flushing into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
