"""What a stereo depth camera adds to perfect depth."""

from __future__ import annotations

import cv2
import numpy as np

# Triangulation: the error of depth is z^2 / (focal length * baseline) times that of disparity.
# 0.05 px of disparity noise at f = 400 px and a 50 mm baseline.
NOISE_PER_M = 0.05 / (400 * 0.050)
NOISE_FLOOR_M = 0.0005

MIN_RANGE_M = 0.05
MAX_RANGE_M = 2.0

# A step of depth this large within one pixel hides one side from one of the two imagers.
EDGE_STEP = 0.04
EDGE_LOSS = 0.6
# Any pixel can fail to match now and then.
SPECKLE_LOSS = 0.001

_NEIGHBOURHOOD = np.ones((3, 3), np.uint8)


def depth_noise_m(depth_m: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the depth noise, metres, at a depth in metres."""
    return NOISE_FLOOR_M + NOISE_PER_M * np.square(depth_m)


class DepthSensor:
    """Noise that grows with the square of distance; no return at depth edges and out of range."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def expose(self, depth_m: np.ndarray, time_s: float) -> np.ndarray:
        """Return depth (H, W) float32 metres, NaN = no return, for perfect depth (H, W) float32.

        Depth is the distance along the optical axis (REP 118).
        """
        noise = self._rng.standard_normal(depth_m.shape, dtype=np.float32)
        luck = self._rng.random(depth_m.shape, dtype=np.float32)
        nearest = cv2.erode(depth_m, _NEIGHBOURHOOD)
        step = cv2.dilate(depth_m, _NEIGHBOURHOOD) - nearest
        # Only the far side of a step is hidden.
        hidden = (step > EDGE_STEP * depth_m) & (depth_m - nearest > 0.5 * step)
        lost = hidden & (luck < EDGE_LOSS)
        lost |= luck > 1.0 - SPECKLE_LOSS
        lost |= (depth_m < MIN_RANGE_M) | (depth_m > MAX_RANGE_M)
        measured = depth_m + noise * depth_noise_m(depth_m)
        measured[lost] = np.nan
        return measured.astype(np.float32)
