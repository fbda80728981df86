"""What the simulated cameras measure: RGB, depth and temperature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from multismolvla.modalities.segmentation import LABELS

# What a colour sensor adds to a perfect picture.

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

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self._rng = rng

    def expose(self, picture: np.ndarray, time_s: float) -> np.ndarray:
        """Return the frame (H, W, 3) uint8 of a perfect picture (H, W, 3) uint8."""
        gain = 1.0 + GAIN_VARIATION * self._rng.standard_normal()
        signal = picture.astype(np.float32) * np.float32(gain)
        noise = self._rng.standard_normal(picture.shape, dtype=np.float32)
        noise *= np.sqrt(SHOT_VARIANCE * signal + READ_NOISE**2)
        return np.rint(signal + noise).clip(0, 255).astype(np.uint8)


# What a stereo depth camera adds to perfect depth.

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

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
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


# What a long-wave infrared camera sees of surfaces whose temperature is known.

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


# What the cameras of the simulator are, by kind of image.


class Sensor(Protocol):
    """Turns the perfect pictures of one camera into its frames, in their order."""

    def expose(self, picture: np.ndarray, time_s: float) -> np.ndarray:
        """Return a frame in the unit of its kind; `time_s` is simulated time."""


@dataclass(frozen=True)
class SimulatedSensor:
    """How a kind of image is simulated.

    Attributes:
        picture: the perfect picture that it is made from: `rgb`, `depth`, `thermal` (apparent
            temperatures) or `segmentation`.
        make: of a random generator, height and width; None passes the perfect picture on.
    """

    picture: str
    make: Callable[[np.random.Generator, int, int], Sensor] | None = None


# Another package adds what it simulates where it describes its modality.
SENSORS: dict[str, SimulatedSensor] = {
    "rgb": SimulatedSensor("rgb", RgbSensor),
    "depth": SimulatedSensor("depth", DepthSensor),
    "thermal": SimulatedSensor("thermal", ThermalSensor),
    "segmentation": SimulatedSensor("segmentation"),
}
