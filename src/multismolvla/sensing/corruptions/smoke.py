"""Smoke, steam or fog between camera and scene."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from multismolvla.sensing.corruptions.fault import PictureFault, parameter

GREY = 190.0
# Swathes across the picture, and the time in which one turns into another.
SWATHES, TURN_S = 5, 4.0


@dataclass
class Smoke(PictureFault):
    """Swathes that drift: they bleach colours and swallow the returns of depth.

    Long-wave infrared passes through, so a thermal camera sees none of it.
    """

    name = "smoke"
    kinds = ("rgb", "depth")
    density: float = parameter(
        "of the light", 0.0, 1.0, (0.2, 0.35, 0.5, 0.7, 0.9), "what is swallowed on average"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._swathes = self._rng.standard_normal((2, SWATHES, SWATHES))

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        opacity = self._opacity(*frame.shape[:2])
        if self.kind == "rgb":
            hazy = frame + (GREY - frame) * opacity[..., None]
            return np.rint(hazy).clip(0, 255).astype(np.uint8)
        swallowed = self._rng.random(frame.shape, dtype=np.float32) < opacity
        return np.where(swallowed, np.float32(np.nan), frame)

    def _opacity(self, height: int, width: int) -> np.ndarray:
        """(height, width) share of the light that is swallowed."""
        angle = 2.0 * math.pi * self._since_s / TURN_S
        swathes = math.cos(angle) * self._swathes[0] + math.sin(angle) * self._swathes[1]
        field = cv2.resize(swathes, (width, height), interpolation=cv2.INTER_CUBIC)
        return (self.density * (1.0 + 0.3 * field)).clip(0.0, 1.0)
