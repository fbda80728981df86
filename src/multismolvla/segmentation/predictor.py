"""Labels from conditioned frames, by the shipped weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from multismolvla.modalities.registry import find_modality
from multismolvla.processor import read_processor
from multismolvla.segmentation import PRECISIONS
from multismolvla.segmentation.network import INPUT_KINDS, SegmentationNetwork, fold
from multismolvla.segmentation.weights import WEIGHTS_FILE, load_weights


class Segmenter:
    """Turns whichever conditioned frames there are of one instant into labels."""

    inputs = INPUT_KINDS

    def __init__(
        self,
        weights: Path = WEIGHTS_FILE,
        threads: int | None = None,
        precision: str = "float32",
    ) -> None:
        """Load the weights.

        Args:
            threads: processor threads of an inference; None leaves torch as it is.
            precision: of the convolutions; one of `PRECISIONS`. `float32` gives the same labels on
                every processor, `bfloat16` is for one that multiplies it in tiles, and `auto` takes
                it there.

        Raises:
            WeightsError: the file is missing, damaged, or of another network.
            ValueError: no such precision, or not on this processor.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision is '{precision}'; expected {', '.join(PRECISIONS)}")
        tiles = read_processor().has_amx_bfloat16
        if precision == "bfloat16" and not tiles:
            raise ValueError(
                "precision is 'bfloat16', for which this processor has no tiles (AMX); expected "
                "'auto' or 'float32'"
            )
        self.precision = "bfloat16" if tiles and precision != "float32" else "float32"
        self._threads = threads
        self._network = SegmentationNetwork()
        self.metadata = load_weights(self._network, weights)
        fold(self._network)
        self._network.to(memory_format=torch.channels_last)

    def predict(self, frames: Mapping[str, np.ndarray | None]) -> np.ndarray:
        """Return labels (H, W) uint8, indices into `LABELS`.

        Args:
            frames: kind -> conditioned frame, or None where it is missing: `rgb` (H, W, 3) uint8,
                `depth` (H, W) float32 metres with NaN for no return, `thermal` (H, W) float32
                degrees Celsius. A kind left out is missing.

        Raises:
            ValueError: no frame at all, an unknown kind, a wrong shape or type, or unequal sizes.
        """
        return self.predict_batch([frames])[0]

    def predict_batch(self, views: Sequence[Mapping[str, np.ndarray | None]]) -> list[np.ndarray]:
        """Label several views at once, which takes less than one after the other.

        Args:
            views: frames of each as in `predict`; the views may have different sizes, and miss
                different kinds.

        Returns:
            labels of each, as `predict` gives them.

        Raises:
            ValueError: as in `predict`.
        """
        tensors = [_to_tensors(frames) for frames in views]
        if self._threads is not None:
            # Holds for the calling thread only, so it is set here and not at the start.
            torch.set_num_threads(self._threads)
        by_size: dict[tuple[int, ...], list[int]] = {}
        for number, given in enumerate(tensors):
            by_size.setdefault(next(iter(given.values())).shape[-2:], []).append(number)
        labels: dict[int, np.ndarray] = {}
        for numbers in by_size.values():
            labels |= zip(numbers, self._label([tensors[n] for n in numbers]), strict=True)
        return [labels[number] for number in range(len(views))]

    def _label(self, views: list[dict[str, torch.Tensor]]) -> list[np.ndarray]:
        """Labels of views of one size, each kind -> (C, H, W)."""
        batch = {}
        for kind in INPUT_KINDS:
            given = next((view[kind] for view in views if kind in view), None)
            if given is not None:
                # What stands for an absent frame is never read.
                batch[kind] = torch.stack([view.get(kind, given) for view in views])
        present = torch.tensor([[kind in view for kind in INPUT_KINDS] for view in views])
        bfloat16 = torch.autocast("cpu", torch.bfloat16, self.precision == "bfloat16")
        with torch.inference_mode(), bfloat16:
            logits = self._network(batch, present)
        return list(logits.argmax(1).to(torch.uint8).numpy())


def _to_tensors(frames: Mapping[str, np.ndarray | None]) -> dict[str, torch.Tensor]:
    """The frames that there are as (C, H, W) float32, checked."""
    for kind in frames:
        if kind not in INPUT_KINDS:
            raise ValueError(
                f"cannot segment frames of kind '{kind}'; expected {', '.join(INPUT_KINDS)}"
            )
    given = {kind: frame for kind, frame in frames.items() if frame is not None}
    if not given:
        raise ValueError(f"nothing to segment: give at least one of {', '.join(INPUT_KINDS)}")
    tensors = {kind: to_tensor(kind, frame) for kind, frame in given.items()}
    sizes = {kind: tuple(tensor.shape[-2:]) for kind, tensor in tensors.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"frames of one instant must have one size (H, W); got {sizes}")
    return tensors


def to_tensor(kind: str, frame: np.ndarray) -> torch.Tensor:
    """Return a conditioned frame as (C, H, W) float32 in the network's memory layout.

    Raises:
        ValueError: the frame has the wrong shape or type for its kind.
    """
    modality = find_modality(kind)
    channels = modality.trailing
    right_shape = frame.ndim == 2 + len(channels) and frame.shape[2:] == channels
    if not right_shape or frame.dtype != modality.dtype or 0 in frame.shape:
        raise ValueError(
            f"{kind} frame has shape {frame.shape} and type {frame.dtype}; "
            f"expected ({', '.join(('H', 'W', *map(str, channels)))}) {modality.dtype}"
        )
    image = frame if channels else frame[:, :, None]
    # Rows of a camera may be flipped views, which torch cannot wrap.
    return torch.from_numpy(np.ascontiguousarray(image)).to(torch.float32).permute(2, 0, 1)
