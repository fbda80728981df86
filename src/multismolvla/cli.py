"""The command `multismolvla`: one subcommand per job, each with its own `--help`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

# Subcommand -> module with a docstring, `add_arguments(parser)` and `main(args) -> int`. Imported
# when needed, so that `--help` does not wait for ROS and torch.
COMMANDS = {
    "demo": ("multismolvla.nodes.demo", "five episodes in simulation, one through an RGB loss"),
    "demos": (
        "multismolvla.training.demonstrations.command",
        "record demonstrations in simulation",
    ),
    "dataset": ("multismolvla.training.dataset.command", "look at, convert and cache episodes"),
    "bag check": (
        "multismolvla.replay.bag_check_command",
        "everything that is wrong or odd in a bag for this stack",
    ),
    "bag recover": (
        "multismolvla.data.bag_recovery",
        "finish a recording that was cut off",
    ),
    "checkpoint check": (
        "multismolvla.stack.checkpoint_check",
        "everything that is wrong with a checkpoint, and what to do",
    ),
    "evaluate": ("multismolvla.evaluation.evaluate", "closed-loop success under broken cameras"),
    "export": (
        "multismolvla.training.export.command",
        "write a trained policy in half precision, with its model card",
    ),
    "libero check": (
        "multismolvla.sim.libero.check",
        "load all 40 tasks of LIBERO and draw a picture of each",
    ),
    "libero setup": ("multismolvla.sim.libero.install", "install LIBERO's wheels, pinned by hash"),
    "pose-check": (
        "multismolvla.training.pose_check.command",
        "learn whether pictures fit the joints, from recordings of a robot",
    ),
    "replay": (
        "multismolvla.replay.command",
        "a recorded bag through the stack again, with faults, and what that changes",
    ),
    "scenarios": (
        "multismolvla.evaluation.scenarios.command",
        "break sensors on a schedule and check what the stack does about it",
    ),
    "scenes": (
        "multismolvla.training.segmentation.scene_cache",
        "draw random scenes that teach a policy to see",
    ),
    "segmentation": (
        "multismolvla.training.segmentation.command",
        "train the network that labels images",
    ),
    "train": ("multismolvla.training.policy.command", "train a policy from a recipe"),
}
# First word of the subcommands that have two.
GROUPS = {
    "bag": "look after recordings",
    "checkpoint": "look at checkpoints",
    "libero": "install and check LIBERO's benchmark",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return its exit status, 130 where Ctrl-C ended it."""
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="multismolvla", description="MultiSmolVLA on ROS 2.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    groups = {"": commands}
    for name, summary in GROUPS.items():
        group = commands.add_parser(name, help=summary, description=summary)
        groups[name] = group.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    for name, (module_name, summary) in COMMANDS.items():
        group_name, _, last = name.rpartition(" ")
        command = groups[group_name].add_parser(last, help=summary, description=summary)
        if name.split() == arguments[: len(name.split())]:
            module = importlib.import_module(module_name)
            command.description = module.__doc__
            module.add_arguments(command)
            command.set_defaults(main=module.main)
    args = parser.parse_args(arguments)
    return args.main(args)
