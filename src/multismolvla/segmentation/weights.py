"""Weights as safetensors, with what is needed to use and to judge them in the file's metadata."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors
from safetensors.torch import save_file
from torch import nn

from multismolvla.modalities.segmentation import LABELS
from multismolvla.one_line import one_line
from multismolvla.segmentation.network import INPUT_KINDS, NORMALISATION, RELIEF_SCALE_M

WEIGHTS_FILE = Path(__file__).parent / "weights.safetensors"
# World -> weights of the network that labels its scenes.
WEIGHTS = {"tabletop": WEIGHTS_FILE, "libero": WEIGHTS_FILE.with_name("libero.safetensors")}


def find_network(model: str) -> Path:
    """Weights by what `model` says: empty for the tabletop's, a world by its name, or a file."""
    return WEIGHTS.get(model or "tabletop", Path(model))


class WeightsError(ValueError):
    """The weights cannot be used; the message names the file and the reason."""


def save_weights(network: nn.Module, path: Path, **facts: object) -> None:
    """Write the weights of a network and, as JSON in the metadata, what they mean.

    Args:
        facts: JSON values about the training, for example `seeds` and `mean_iou`.
    """
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, path, {key: json.dumps(value) for key, value in (_meaning() | facts).items()})


def load_weights(network: nn.Module, path: Path) -> dict[str, object]:
    """Load weights into a network and return the file's metadata.

    Raises:
        WeightsError: the file is missing, damaged, or was trained for other labels, another
            normalisation or another network.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: cannot read the segmentation weights: {error}") from None
    for key, expected in _meaning().items():
        if metadata.get(key) != expected:
            raise WeightsError(
                f"{path}: the weights' {key} is {metadata.get(key)}; this version expects "
                f"{expected}: train again with `multismolvla segmentation`"
            )
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = one_line(error)[:200]
        raise WeightsError(f"{path}: the weights fit another network: {reason}") from None
    return metadata


def _meaning() -> dict[str, object]:
    return {
        "classes": list(LABELS),
        "inputs": list(INPUT_KINDS),
        "normalisation": {key: list(value) for key, value in NORMALISATION.items()},
        "relief_scale_m": RELIEF_SCALE_M,
    }
