"""The light is wrong: its colour, its amount, or a lamp that shines into the lens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from multismolvla.sensing.corruptions.fault import PictureFault, parameter

# Pictures are stored with about this exponent: twice the light is 1.37 times the level.
GAMMA = 2.2


@dataclass
class ColourCast(PictureFault):
    """The light, or the white balance, takes part of the colours away."""

    name = "colour_cast"
    kinds = ("rgb",)
    strength: float = parameter(
        "of the level", 0.0, 1.0, (0.1, 0.2, 0.35, 0.5, 0.7), "what the weakest colour loses"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        hue = self._rng.uniform(0.0, 2.0 * math.pi) + np.arange(3) * (2.0 * math.pi / 3.0)
        self._lost = 0.5 + 0.5 * np.cos(hue)
        self._lost /= self._lost.max()

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        return np.rint(frame * (1.0 - self.strength * self._lost)).astype(np.uint8)


@dataclass
class Exposure(PictureFault):
    """Too much light, or with negative stops too little."""

    name = "exposure"
    kinds = ("rgb",)
    stops: float = parameter(
        "stops", -16.0, 16.0, (0.7, 1.3, 2.0, 3.0, 5.0), "powers of two of the light"
    )

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        gain = 2.0 ** (self.stops / GAMMA)
        return np.rint(frame * gain).clip(0, 255).astype(np.uint8)


@dataclass
class Glare(PictureFault):
    """A lamp or the sun in the view: a white disc with a halo around it."""

    name = "glare"
    kinds = ("rgb",)
    share: float = parameter(
        "of the picture", 0.0, 1.0, (0.01, 0.03, 0.08, 0.2, 0.4), "area that is white"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._centre = self._rng.uniform(0.25, 0.75, 2)

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        rows = np.arange(height) + 0.5 - self._centre[0] * height
        columns = np.arange(width) + 0.5 - self._centre[1] * width
        squared = rows[:, None] ** 2 + columns[None, :] ** 2
        area = max(1e-9, self.share * height * width / math.pi)
        # As much light as the whole range on the edge of the disc, halved with every disc further.
        light = 255.0 * 2.0 ** (1.0 - squared / area)
        return np.rint(frame + light[..., None]).clip(0, 255).astype(np.uint8)
