"""The pose check's weights for every stream in one safetensors file, with what they mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import save_file

from multismolvla.modalities.modality import ModalityError
from multismolvla.modalities.registry import find_modality
from multismolvla.pose_check.picture import SIZE

# Learned from the simulated cameras.
SHIPPED = Path(__file__).parent / "weights.safetensors"
FORMAT = 1


class PoseCheckError(ValueError):
    """The weights cannot be used; the message names the file and the reason."""


@dataclass(frozen=True)
class StreamWeights:
    """What is known of one stream.

    Attributes:
        kind: of the stream: which frames it has.
        margin: logit above which a frame counts against its stream.
        arrays: name of a layer -> its weights, float32.
    """

    kind: str
    margin: float
    arrays: Mapping[str, np.ndarray]


def save_weights(path: Path, streams: Mapping[str, StreamWeights], **facts: object) -> None:
    """Write the weights in half precision and, as JSON in the metadata, what they mean.

    Args:
        facts: JSON values about the training.
    """
    arrays = {
        f"{stream}:{name}": np.ascontiguousarray(array, np.float16)
        for stream, weights in streams.items()
        for name, array in weights.arrays.items()
    }
    described = {name: {"kind": w.kind, "margin": w.margin} for name, w in streams.items()}
    metadata = {"format": FORMAT, "size": SIZE, "streams": described, **facts}
    save_file(arrays, path, {key: json.dumps(value) for key, value in metadata.items()})


def load_weights(path: Path) -> dict[str, StreamWeights]:
    """Read the weights of every stream.

    Raises:
        PoseCheckError: the file is missing, damaged, or not of this version.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            arrays = {
                name: file.get_tensor(name).astype(np.float32)
                for name in file.keys()  # noqa: SIM118
            }
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        raise PoseCheckError(f"{path}: cannot read the pose check: {error}") from None
    if metadata.get("format") != FORMAT or metadata.get("size") != SIZE:
        raise PoseCheckError(
            f"{path}: no pose check of this version; train one with 'multismolvla pose-check'"
        )
    streams = {}
    for name, facts in metadata["streams"].items():
        try:
            find_modality(facts["kind"])
        except ModalityError as error:
            raise PoseCheckError(f"{path}: {name}: {error}") from None
        own = {key.partition(":")[2]: a for key, a in arrays.items() if key.startswith(f"{name}:")}
        streams[name] = StreamWeights(facts["kind"], facts["margin"], own)
    return streams
