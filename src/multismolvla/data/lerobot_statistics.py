"""`stats.json` of a LeRobot data set: exact for numbers, of a few frames per episode for images."""

from __future__ import annotations

import numpy as np

# Mean, spread and quantiles per joint, under the names of LeRobot's `meta/stats.json`.

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def joint_statistics(values: np.ndarray) -> dict[str, list[float]]:
    """Of (..., J) numbers, over all axes but the last; `count` is how many rows there were.

    Raises:
        ValueError: there are no rows.
    """
    rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
    if not len(rows):
        raise ValueError("there are no rows for statistics")
    found = {
        "min": rows.min(0),
        "max": rows.max(0),
        "mean": rows.mean(0),
        "std": rows.std(0),
        **{name: np.quantile(rows, share, axis=0) for name, share in QUANTILES.items()},
    }
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(rows)]}


IMAGES_PER_EPISODE = 4
# Every so many-th pixel of those, each way.
_PIXEL_STEP = 4


class FeatureStatistics:
    """Collects values per feature; NaN rows, which stand for "unknown", do not count."""

    def __init__(self) -> None:
        self._numbers: dict[str, list[np.ndarray]] = {}
        self._images: dict[str, list[np.ndarray]] = {}

    def add_numbers(self, key: str, rows: np.ndarray) -> None:
        """Rows (n, J)."""
        self._numbers.setdefault(key, []).append(rows[np.isfinite(rows).all(1)])

    def add_images(self, key: str, frames: np.ndarray) -> None:
        """Frames (n, H, W[, 3]) in stored units; 8-bit ones count as 0 to 1, as in LeRobot."""
        chosen = np.unique(np.linspace(0, len(frames) - 1, IMAGES_PER_EPISODE).astype(int))
        some = frames[chosen[: len(frames)], ::_PIXEL_STEP, ::_PIXEL_STEP]
        channels = some.shape[3] if some.ndim == 4 else 1
        scale = 255.0 if some.dtype == np.uint8 else 1.0
        pixels = some.reshape(-1, channels).astype(np.float32) / scale
        self._images.setdefault(key, []).append(pixels)

    def merge(self, other: FeatureStatistics) -> None:
        """Count what the other has collected as well."""
        for mine, theirs in ((self._numbers, other._numbers), (self._images, other._images)):
            for key, parts in theirs.items():
                mine.setdefault(key, []).extend(parts)

    def result(self) -> dict[str, dict[str, list]]:
        """Feature -> measure -> values; of images (channels, 1, 1)."""
        found = {}
        for key, parts in (self._numbers | self._images).items():
            rows = np.concatenate(parts)
            if len(rows):
                found[key] = joint_statistics(rows)
                if key in self._images:
                    found[key] = {
                        name: values if name == "count" else [[[value]] for value in values]
                        for name, values in found[key].items()
                    }
        return found
