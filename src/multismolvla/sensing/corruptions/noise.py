"""Noise: of every pixel a little, or of a few pixels everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multismolvla.sensing.corruptions.fault import FrameFault, parameter
from multismolvla.streams import LABELS

# What counts as the whole range of values in a scene on the table, by kind: levels, metres,
# degrees Celsius.
SPAN = {"rgb": 255.0, "depth": 1.0, "thermal": 40.0}
# Values that a broken pixel shows.
EXTREMES = {"rgb": (0, 255), "depth": (0.1, 2.0), "thermal": (-20.0, 120.0)}


@dataclass
class GaussianNoise(FrameFault):
    """Independent noise on every value; on labels, a share of the pixels with any label."""

    name = "noise"
    sigma: float = parameter(
        "of the range", 0.0, 1.0, (0.04, 0.08, 0.16, 0.25, 0.4),
        "standard deviation; range: 255 levels, 1 m, 40 degrees; labels: share of wrong pixels",
    )  # fmt: skip

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        if self.kind == "segmentation":
            return _wrong_labels(frame, self.sigma, self._rng)
        noise = self._rng.standard_normal(frame.shape, dtype=np.float32)
        noisy = frame + noise * np.float32(self.sigma * SPAN[self.kind])
        if self.kind == "rgb":
            return np.rint(noisy).clip(0, 255).astype(np.uint8)
        return noisy.astype(frame.dtype)


@dataclass
class SaltAndPepper(FrameFault):
    """Pixels that show one end of the range or the other."""

    name = "salt_and_pepper"
    share: float = parameter(
        "of the pixels", 0.0, 1.0, (0.01, 0.03, 0.08, 0.15, 0.3), "share of broken pixels"
    )

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        if self.kind == "segmentation":
            return _wrong_labels(frame, self.share, self._rng)
        luck = self._rng.random(frame.shape[:2])
        low, high = EXTREMES[self.kind]
        broken = frame.copy()
        broken[luck < self.share / 2] = low
        broken[luck > 1.0 - self.share / 2] = high
        return broken


def _wrong_labels(frame: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    wrong = rng.random(frame.shape) < share
    labels = rng.integers(0, len(LABELS), frame.shape, dtype=np.uint8)
    return np.where(wrong, labels, frame)
