"""What a long-wave infrared camera sees of surfaces whose temperature is known."""

from __future__ import annotations

import math

import cv2
import numpy as np

from multismolvla.streams import LABELS

AMBIENT_C = 22.0
BACKGROUND_C = 20.0
_ZERO_C_IN_K = 273.15

# Share of its own radiation in what a surface sends out; the rest is the room, reflected.
# Typical values of emissivity tables: plastics and paint 0.95, glazed ceramic 0.90, wood 0.94.
EMISSIVITY = {
    "background": 0.95,
    "table": 0.94,
    "arm": 0.93,
    "gripper": 0.93,
    "bin": 0.95,
    "plate": 0.90,
    "cube": 0.96,
    "cylinder": 0.95,
    "brick": 0.95,
}
_EMISSIVITY = np.array([EMISSIVITY[label] for label in LABELS])

# The lens blurs over this share of the image's width.
BLUR_WIDTHS = 0.007
# Noise of an uncooled microbolometer, degrees: from frame to frame (datasheets: 50 mK) and fixed
# per pixel after the shutter's correction.
TEMPORAL_NOISE_C = 0.05
FIXED_PATTERN_C = 0.15
# The whole frame wanders as the housing warms, over minutes.
DRIFT_C = 0.4
_DRIFT_PERIODS_S = (47.0, 131.0, 307.0)


def apparent_temperature_c(temperature_c: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return what the camera would read, degrees Celsius, without blur and noise.

    Radiation of the surface and of the room mix by the Stefan-Boltzmann law.

    Args:
        temperature_c: surface temperature per geom.
        label: index into `LABELS` per geom, same shape.
    """
    emissivity = _EMISSIVITY[label]
    own = (temperature_c + _ZERO_C_IN_K) ** 4
    room = (AMBIENT_C + _ZERO_C_IN_K) ** 4
    return (emissivity * own + (1.0 - emissivity) * room) ** 0.25 - _ZERO_C_IN_K


class ThermalSensor:
    """Blur, noise, fixed pattern and slow drift. Light plays no part."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self._rng = rng
        self._blur = BLUR_WIDTHS * width
        self._pattern = FIXED_PATTERN_C * rng.standard_normal((height, width), dtype=np.float32)
        self._phases = rng.uniform(0.0, 2.0 * math.pi, len(_DRIFT_PERIODS_S))

    def expose(self, apparent_c: np.ndarray, time_s: float) -> np.ndarray:
        """Return the frame (H, W) float32 degrees Celsius of apparent temperatures (H, W)."""
        image = cv2.GaussianBlur(apparent_c.astype(np.float32), (0, 0), self._blur)
        image += self._pattern + np.float32(self._drift_c(time_s))
        noise = self._rng.standard_normal(image.shape, dtype=np.float32)
        image += TEMPORAL_NOISE_C * noise
        return image

    def _drift_c(self, time_s: float) -> float:
        waves = (
            math.sin(2.0 * math.pi * time_s / period_s + phase)
            for period_s, phase in zip(_DRIFT_PERIODS_S, self._phases, strict=True)
        )
        return DRIFT_C * sum(waves) / len(_DRIFT_PERIODS_S)
