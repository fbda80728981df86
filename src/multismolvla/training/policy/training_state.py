"""All that a run needs to continue to the same weights, in one safetensors file, never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from multismolvla.one_line import one_line
from multismolvla.training.policy.ema import Ema

FILE_NAME = "state.safetensors"


class StateError(ValueError):
    """The saved state cannot be used; one line."""


@dataclass(frozen=True)
class Place:
    """Where a run is.

    Attributes:
        phase: index; step: steps of it that are done.
        seconds: spent so far.
    """

    phase: int
    step: int
    seconds: float


def fingerprint(content: Any) -> str:
    """Of a recipe and its data: a state of another run is not gone on from."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def save_state(
    folder: Path,
    run: str,
    place: Place,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    ema: Ema | None = None,
) -> None:
    """Write the state, whole or not at all.

    Args:
        run: fingerprint of the run.
        optimizer, ema: None between two phases, each of which begins with its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    if optimizer is not None and ema is not None:
        tensors |= {f"ema.{name}": value for name, value in ema.shadow.items()}
        for index, parameter in enumerate(_parameters(optimizer)):
            for name, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    metadata = {
        "run": run,
        "phase": str(place.phase),
        "step": str(place.step),
        "seconds": str(place.seconds),
        "ema_updates": str(ema.updates if ema else 0),
    }
    beside = folder / f".{FILE_NAME}.{os.getpid()}"
    try:
        copies = {n: v.detach().cpu().clone().contiguous() for n, v in tensors.items()}
        save_file(copies, beside, metadata)
        with open(beside, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(beside, folder / FILE_NAME)
    finally:
        beside.unlink(missing_ok=True)


def find_place(folder: Path, run: str) -> Place | None:
    """Where the run in `folder` stopped; None if there is none.

    Raises:
        StateError: the state is damaged, or of another recipe or other data.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    metadata = _metadata(path)
    if metadata.get("run") != run:
        raise StateError(
            f"{path}: was saved by another recipe or with other data; choose another --out, or "
            "start again with --fresh"
        )
    return Place(int(metadata["phase"]), int(metadata["step"]), float(metadata["seconds"]))


def load_state(
    folder: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    ema: Ema | None = None,
) -> None:
    """Put the state back into what was built as it was then.

    Raises:
        StateError: the state is damaged or does not fit.
    """
    path = folder / FILE_NAME
    updates = int(_metadata(path)["ema_updates"])
    parts: dict[str, dict[str, torch.Tensor]] = {"module": {}, "ema": {}, "optimizer": {}}
    try:
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118
                part, _, name = key.partition(".")
                parts[part][name] = file.get_tensor(key).clone()
        module.load_state_dict(parts["module"])
        if optimizer is not None and ema is not None:
            ema.load(parts["ema"], updates)
            parameters = _parameters(optimizer)
            for key, value in parts["optimizer"].items():
                index, _, name = key.partition(".")
                parameter = parameters[int(index)]
                # AdamW counts its steps on the processor whatever the device.
                where = value if name == "step" else value.to(parameter.device)
                optimizer.state[parameter][name] = where
    except (SafetensorError, RuntimeError, KeyError, IndexError) as error:
        reason = one_line(error)
        raise StateError(f"{path}: does not fit the model: {reason}") from None


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        cause = one_line(error)
        raise StateError(f"{path}: damaged: {cause}; start again with --fresh") from None
