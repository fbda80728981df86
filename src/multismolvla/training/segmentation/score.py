"""Mean intersection over union of the segmentation network, per set of inputs present."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import torch

from multismolvla.markdown import table
from multismolvla.modalities.segmentation import LABELS
from multismolvla.segmentation.network import INPUT_KINDS, SegmentationNetwork
from multismolvla.segmentation.predictor import to_tensor

# All three first, then every pair, then each alone.
SUBSETS: tuple[tuple[str, ...], ...] = tuple(
    subset for size in (3, 2, 1) for subset in combinations(INPUT_KINDS, size)
)

Scores = dict[tuple[str, ...], np.ndarray]


def score(network: SegmentationNetwork, views: Iterable[dict[str, np.ndarray]]) -> Scores:
    """Return the intersection over union of every label, (len(LABELS),), per set of inputs.

    A label that occurs neither in the reference nor in the prediction is NaN.

    Args:
        views: conditioned frames by kind, `segmentation` is the reference.
    """
    count = len(LABELS)
    confusion = {subset: np.zeros((count, count), np.int64) for subset in SUBSETS}
    network.eval()
    with torch.inference_mode():
        for view in views:
            frames = {kind: to_tensor(kind, view[kind])[None] for kind in INPUT_KINDS}
            reference = view["segmentation"].ravel().astype(np.int64)
            for subset in SUBSETS:
                present = torch.tensor([[kind in subset for kind in INPUT_KINDS]])
                labels = network(frames, present)[0].argmax(0).numpy().ravel()
                pairs = np.bincount(reference * count + labels, minlength=count**2)
                confusion[subset] += pairs.reshape(count, count)
    return {subset: _intersection_over_union(matrix) for subset, matrix in confusion.items()}


def to_markdown(nominal: Scores, varied: Scores) -> str:
    """Return a Markdown table with a row per set of inputs."""
    head = ["inputs", "mean IoU", *LABELS, "mean IoU, appearance varied"]
    rows = [
        [
            " + ".join(subset),
            f"**{np.nanmean(values):.3f}**",
            *(f"{value:.3f}" for value in values),
            f"{np.nanmean(varied[subset]):.3f}",
        ]
        for subset, values in nominal.items()
    ]
    return table(head, rows)


def _intersection_over_union(confusion: np.ndarray) -> np.ndarray:
    hit = np.diag(confusion).astype(float)
    union = confusion.sum(0) + confusion.sum(1) - hit
    return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)
