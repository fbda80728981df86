"""Blur: of a camera that shakes, and of one out of focus."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np

from multismolvla.sensing.corruptions.fault import FrameFault, parameter


class Blur(FrameFault):
    """Spreads every pixel over its surroundings; a pixel without a value stays without."""

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        kernel = self._kernel(frame.shape[1])
        if self.kind == "segmentation":
            return self._scattered(frame, kernel)
        if self.kind == "rgb":
            return cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        present = np.isfinite(frame)
        filled = np.where(present, frame, 0.0).astype(np.float32)
        total = cv2.filter2D(filled, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        weight = cv2.filter2D(
            present.astype(np.float32), -1, kernel, borderType=cv2.BORDER_REPLICATE
        )
        blurred = np.full_like(filled, np.nan)
        np.divide(total, weight, out=blurred, where=present & (weight > 0.0))
        return blurred.astype(frame.dtype)

    def _scattered(self, frame: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """Labels cannot be mixed: each pixel takes that of one pixel of those it would mix."""
        height, width = frame.shape
        reach = len(kernel) // 2
        # In float64: the sum of a float32 kernel may miss 1 by more than `choice` puts up with.
        weights = kernel.ravel().astype(float)
        drawn = self._rng.choice(kernel.size, frame.shape, p=weights / weights.sum())
        rows = np.arange(height)[:, None] + drawn // len(kernel) - reach
        columns = np.arange(width)[None, :] + drawn % len(kernel) - reach
        return frame[rows.clip(0, height - 1), columns.clip(0, width - 1)]

    @abstractmethod
    def _kernel(self, width: int) -> np.ndarray:
        """What a pixel is spread into, (K, K) float32 with sum 1."""


@dataclass
class MotionBlur(Blur):
    """Every frame is smeared along a line whose direction wanders, as of a shaking mount."""

    name = "motion_blur"
    length: float = parameter(
        "of the width", 0.0, 1.0, (0.03, 0.06, 0.1, 0.16, 0.25), "length of the smear"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._angle = self._rng.uniform(0.0, math.pi)

    def _kernel(self, width: int) -> np.ndarray:
        self._angle += self._rng.normal(0.0, 0.3)
        half = 0.5 * max(0.0, self.length * width - 1.0)
        reach = math.ceil(half)
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        for along in np.linspace(-half, half, 4 * reach + 1):
            x, y = reach + along * math.cos(self._angle), reach + along * math.sin(self._angle)
            left, top = math.floor(x), math.floor(y)
            for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
                weight = max(0.0, 1.0 - abs(x - column)) * max(0.0, 1.0 - abs(y - row))
                if weight > 0.0:
                    kernel[row, column] += weight
        return kernel / kernel.sum()


@dataclass
class Defocus(Blur):
    """Every point becomes a disc."""

    name = "defocus"
    radius: float = parameter(
        "of the width", 0.0, 0.5, (0.015, 0.03, 0.05, 0.08, 0.12), "radius of the disc"
    )

    def _kernel(self, width: int) -> np.ndarray:
        radius = max(0.5, self.radius * width)
        reach = math.ceil(radius)
        along = np.arange(-reach, reach + 1)
        distance = np.hypot(along[:, None], along[None, :])
        # The edge of the disc covers part of its pixels.
        kernel = np.clip(radius + 0.5 - distance, 0.0, 1.0).astype(np.float32)
        return kernel / kernel.sum()
