"""Write a trained checkpoint for release: in half precision, with its history and a model card.

FOLDER is the checkpoint of a phase of `multismolvla train`. The result runs like any checkpoint, as
float32 on a CPU; beside the weights it has `training.json`, its history, and `README.md`, the model
card. Written to src/multismolvla/policy/small it is the policy `small` of the package.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from multismolvla.argument_types import add_embodiment
from multismolvla.embodiment.description import Embodiment
from multismolvla.one_line import one_line
from multismolvla.policy.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    resolve,
    save_checkpoint,
)
from multismolvla.policy.dry_run import synthetic_observation
from multismolvla.policy.examples import FILE_NAME as EXAMPLES
from multismolvla.policy.learned_policy import LearnedPolicy
from multismolvla.training.export.model_card import Facts, evaluation_section, render_model_card
from multismolvla.training.provenance import TRAINING_FILE, whole_history, without_places

CARD_FILE = "README.md"
PRECISIONS = {"float16": torch.float16, "float32": torch.float32}
# Made-up observations on which the export is compared with its original.
COMPARED = 8


class ExportError(ValueError):
    """The checkpoint cannot be exported; one line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "folder", metavar="FOLDER", help="a trained checkpoint, as out/training/small/policy"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/export"), metavar="DIR", help="default: %(default)s"
    )
    add_embodiment(parser)
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float16",
        help="type of the weights; the statistics stay float32 (default: %(default)s)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="report of multismolvla evaluate for the model card, as out/evaluation/report.md",
    )


def main(args: argparse.Namespace) -> int:
    """Export; return 0, or 1 with one line of what is wrong."""
    try:
        facts = export(args.folder, args.embodiment, args.out, args.precision, args.report)
    except (ValueError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    print(
        f"{args.out}: {facts.parameters / 1e6:.2f} M parameters in {facts.precision}, "
        f"{facts.size_bytes / 1e6:.1f} MB; at most {facts.difference} from the "
        f"original's actions in {COMPARED} random observations"
    )
    return 0


def export(
    source: str, embodiment: Embodiment, out: Path, precision: str, report: Path | None
) -> Facts:
    """Write the checkpoint and what belongs to it into `out`.

    Raises:
        ValueError: the source is no checkpoint or has no `training.json`, `out` is the
            source, or a weight does not fit the precision; one line.
        OSError: a file cannot be read or written.
    """
    folder = resolve(source)
    if out.resolve() == folder.resolve():
        raise ExportError(f"--out {out} is the checkpoint itself; name another folder")
    history = without_places(whole_history(folder)) | {"precision": precision}
    evaluation = evaluation_section(report.read_text()) if report else None
    original = load_checkpoint(folder, embodiment)
    _check_range(folder, original.model, PRECISIONS[precision])
    parameters = sum(parameter.numel() for parameter in original.model.parameters())
    exported = original._replace(model=original.model.to(PRECISIONS[precision]))
    if not _holds(out, embodiment, exported):
        save_checkpoint(out, *exported)
    if (folder / EXAMPLES).is_file():
        shutil.copyfile(folder / EXAMPLES, out / EXAMPLES)
    (out / TRAINING_FILE).write_text(json.dumps(history, indent=1) + "\n")
    files = [file for file in out.iterdir() if file.is_file() and file.name != CARD_FILE]
    facts = Facts(
        parameters=parameters,
        size_bytes=sum(file.stat().st_size for file in files),
        precision=precision,
        difference=_with_unit(largest_difference(folder, out, embodiment), embodiment),
        compared=COMPARED,
    )
    (out / CARD_FILE).write_text(
        render_model_card(original.config, history, facts, evaluation, embodiment)
    )
    return facts


def _with_unit(difference: float, embodiment: Embodiment) -> str:
    return f"{difference:.1e}" + (" rad" if embodiment.commands_joints else "")


def largest_difference(one: Path, other: Path, embodiment: Embodiment) -> float:
    """Largest difference of two checkpoints' actions, radians, on the same random observations."""
    policies = [LearnedPolicy.load(folder, embodiment, seed=0) for folder in (one, other)]
    streams = policies[0].streams
    rng = np.random.default_rng(0)
    largest = 0.0
    for _ in range(COMPARED):
        observation = synthetic_observation(
            streams, [stream.name for stream in streams], rng, embodiment.rest_state
        )
        first, second = (policy.infer(observation).actions for policy in policies)
        largest = max(largest, float(np.abs(first - second).max()))
    return largest


def _holds(folder: Path, embodiment: Embodiment, checkpoint: Checkpoint) -> bool:
    """Whether just this is there already.

    It is not written again then: safetensors lists its metadata in any order, and other bytes would
    make it another policy for an evaluation.
    """
    try:
        there = load_checkpoint(folder, embodiment)
    except CheckpointError:
        return False
    if (there.config, there.tokenizer.content) != (
        checkpoint.config,
        checkpoint.tokenizer.content,
    ):
        return False
    return all(
        ours.dtype == theirs.dtype and torch.equal(ours, theirs)
        for part in ("model", "normalizer")
        for ours, theirs in zip(
            getattr(checkpoint, part).state_dict().values(),
            getattr(there, part).state_dict().values(),
            strict=True,
        )
    )


def _check_range(folder: Path, model: nn.Module, dtype: torch.dtype) -> None:
    limit = torch.finfo(dtype).max
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool((tensor.abs() <= limit).all()):
            raise ExportError(
                f"{folder}: {name} has numbers that are not finite or beyond {limit:g}; "
                "try --precision float32, or train with a lower learning rate"
            )
