"""What a colour sensor adds to a perfect picture."""

from __future__ import annotations

import numpy as np

# In 8-bit counts: variance per count of signal (shot noise) and standard deviation in the dark.
# About those of a small CMOS sensor at 1/60 s indoors.
SHOT_VARIANCE = 0.03
READ_NOISE = 1.0
# Exposure and supply make the whole frame breathe by this share.
GAIN_VARIATION = 0.004


class RgbSensor:
    """Shot noise, read noise and a gain that varies from frame to frame.

    Two frames of a still scene are never the same, unlike those of a frozen camera.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def expose(self, picture: np.ndarray, time_s: float) -> np.ndarray:
        """Return the frame (H, W, 3) uint8 of a perfect picture (H, W, 3) uint8."""
        gain = 1.0 + GAIN_VARIATION * self._rng.standard_normal()
        signal = picture.astype(np.float32) * np.float32(gain)
        noise = self._rng.standard_normal(picture.shape, dtype=np.float32)
        noise *= np.sqrt(SHOT_VARIANCE * signal + READ_NOISE**2)
        return np.rint(signal + noise).clip(0, 255).astype(np.uint8)
