"""`stats.json` of a LeRobot data set: exact for numbers, of a few frames per episode for images."""

from __future__ import annotations

import numpy as np

from multismolvla.data.joint_statistics import joint_statistics

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
