"""Tell everything that is wrong or odd about a checkpoint, and what to do about it.

Reads a folder of this project or of LeRobot's SmolVLA as `policy_node` would, and builds its model.
Exit status 0: nothing, 1: warnings, 2: it cannot be used.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multismolvla import doctor
from multismolvla.argument_types import add_embodiment
from multismolvla.doctor import Finding
from multismolvla.embodiment.description import Embodiment
from multismolvla.embodiment.lerobot_units import UNITS
from multismolvla.stack.policy_loading import lerobot_choice, parse_cameras


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a folder, small, or owner/name on the hub"
    )
    add_embodiment(parser)
    lerobot = parser.add_argument_group("checkpoints of LeRobot, as policy_node's parameters")
    lerobot.add_argument("--cameras", default="", metavar="A=STREAM,...", help="policy_cameras")
    lerobot.add_argument("--units", default="", choices=("", *UNITS), help="policy_units")
    lerobot.add_argument("--calibration", default="", metavar="FILE", help="policy_calibration")
    lerobot.add_argument("--statistics", default="", metavar="NAME", help="policy_statistics")
    doctor.add_json_argument(parser)


def main(args: argparse.Namespace) -> int:
    found: list[Finding] = []
    facts: dict[str, Any] = {}
    try:
        _check(args, found, facts)
    except ValueError as cause:
        found.append(doctor.error(args.checkpoint, "", _without(args.checkpoint, cause)))
    return doctor.report(args.checkpoint, found, as_json=args.json, facts=facts)


def _check(args: argparse.Namespace, found: list[Finding], facts: dict[str, Any]) -> None:
    # Imports torch, for which `--help` need not wait.
    from multismolvla.policy.checkpoint import CONFIG, load_checkpoint, resolve
    from multismolvla.policy.lerobot_checkpoint import is_lerobot

    folder = resolve(args.checkpoint)
    choice = lerobot_choice(args.units, args.statistics, args.calibration)
    cameras = parse_cameras(args.cameras)
    if is_lerobot(folder) and not (folder / CONFIG).exists():
        _check_lerobot(folder, args.embodiment, cameras, choice, found, facts)
        return
    checkpoint = load_checkpoint(folder, args.embodiment)
    config = checkpoint.config
    facts["format"] = "MultiSmolVLA"
    facts["streams"] = [stream.name for stream in config.streams]
    facts["chunk"] = f"{config.chunk_size} actions, {config.period_s * 1e3:.1f} ms apart"
    facts["parameters"] = sum(weight.numel() for weight in checkpoint.model.parameters())


def _check_lerobot(
    folder: Path,
    embodiment: Embodiment,
    cameras: Mapping[str, str],
    choice: Any,
    found: list[Finding],
    facts: dict[str, Any],
) -> None:
    from multismolvla.policy.lerobot_checkpoint import build, policy_config
    from multismolvla.policy.lerobot_inspection import inspect, read_statistics

    facts["format"] = "SmolVLA of LeRobot"
    inspection = inspect(folder, embodiment, found)
    if inspection is None:
        return
    facts["cameras"] = list(inspection.cameras)
    normalisation = read_statistics(inspection, embodiment, choice, found)
    for feature, mode in normalisation.modes.items():
        facts[f"{feature} normalised by"] = mode
    facts["joints in"] = normalisation.units or "unknown units"
    if any(finding.key.startswith(("input_f", "output_f")) for finding in doctor.errors(found)):
        return  # another arm's: no model of this arm fits the weights
    config = policy_config(inspection, embodiment, cameras)
    facts["streams"] = [stream.name for stream in config.streams]
    facts["chunk"] = f"{config.chunk_size} actions, taken as {1 / config.period_s:.0f} per second"
    build(inspection, config, embodiment)


def _without(folder: str, cause: ValueError) -> str:
    """An error's text without the folder that the report names anyway."""
    return str(cause).removeprefix(f"{folder}/").removeprefix(f"{folder}: ")
