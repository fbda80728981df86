"""Train a policy from a recipe: `multismolvla train config/training/small.yaml`.

The same command starts a run and continues one that was stopped by Ctrl-C, --minutes or a
power cut; a run that was stopped ends with the same weights as one that was not. Under
`accelerate launch` it uses several processes or machines. Every phase writes a checkpoint that
runs as a policy.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from multismolvla.argument_types import add_embodiment
from multismolvla.stack.command_options import add_streams, stream_table_file
from multismolvla.stack.settings import or_shipped, shipped_config
from multismolvla.training.policy.recipe import RecipeError
from multismolvla.training.policy.recipe_file import load_recipe
from multismolvla.training.provenance import git_says


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "recipe",
        type=or_shipped,
        nargs="?",
        help="default: the installed config/training/small.yaml",
    )
    parser.add_argument("--data", type=Path, help="folder of the training cache, for data.cache")
    parser.add_argument(
        "--out", type=Path, help="folder of the run; default: out/training/<name of the recipe>"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the recipe, as in phases.0.steps=100; may be repeated",
    )
    add_streams(parser)
    add_embodiment(parser)
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0 lets it choose")
    parser.add_argument(
        "--minutes", type=float, help="stop after this time; the same command continues"
    )
    parser.add_argument("--fresh", action="store_true", help="start again and delete what is there")
    parser.add_argument("--cpu", action="store_true", help="no GPU, even if there is one")
    parser.add_argument(
        "--mixed-precision",
        default="no",
        choices=("no", "bf16", "fp16"),
        help="arithmetic of a GPU, or bf16 of a CPU",
    )


def main(args: argparse.Namespace) -> int:
    """Train; return 0 when done, 1 on an error, 2 on a wrong recipe, 130 when stopped by Ctrl-C."""
    try:
        overrides = list(args.set)
        if args.data:
            overrides.append(f"data.cache={json.dumps(str(args.data))}")
        recipe_file = args.recipe or shipped_config() / "training" / "small.yaml"
        recipe = load_recipe(recipe_file, overrides)
        streams = stream_table_file(args.streams)
    except (RecipeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    import torch

    from multismolvla.training.policy.phase_run import DivergedError
    from multismolvla.training.policy.run import Run

    if args.threads:
        torch.set_num_threads(args.threads)
    folder = args.out or Path("out/training") / recipe_file.stem
    stop = _Stop(args.minutes)
    try:
        run = Run(
            recipe,
            folder,
            streams,
            args.embodiment,
            args.cpu,
            args.mixed_precision,
            git_says("rev-parse", "HEAD"),
            args.fresh,
        )
        finished = run.run(stop)
    except (ValueError, DivergedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        stop.close()
    if not finished:
        print(f"stopped; the same command continues: {folder}")
    return 130 if stop.interrupted else 0


class _Stop:
    """Says when to stop: after Ctrl-C or SIGTERM, or when the time is up."""

    def __init__(self, minutes: float | None) -> None:
        self.interrupted = False
        self._until = None if minutes is None else time.monotonic() + 60.0 * minutes
        self._before = {
            number: signal.signal(number, self._interrupt)
            for number in (signal.SIGINT, signal.SIGTERM)
        }

    def __call__(self) -> bool:
        return self.interrupted or (self._until is not None and time.monotonic() > self._until)

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, _frame: object) -> None:
        if self.interrupted:  # The second one does not wait for the step to end.
            raise KeyboardInterrupt
        self.interrupted = True
