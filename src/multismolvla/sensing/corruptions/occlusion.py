"""Something in front of the lens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from multismolvla.sensing.corruptions.fault import Delivery, FrameFault, parameter

# A hand or a sleeve close to the camera: colour and its texture (levels), distance (metres),
# temperature (degrees Celsius), and the label of what is no part of the scene.
COLOUR, TEXTURE = (70.0, 55.0, 50.0), 6.0
DISTANCE_M, DISTANCE_NOISE_M = 0.06, 0.001
TEMPERATURE_C, TEMPERATURE_NOISE_C = 33.0, 0.1
LABEL = 0


@dataclass
class Occlusion(FrameFault):
    """An ellipse that covers part of the view: a live surface, not a constant one.

    It hangs still or swings to and fro, once every `period_s`.
    """

    name = "occlusion"
    share: float = parameter(
        "of the picture", 0.0, 1.0, (0.1, 0.2, 0.35, 0.5, 0.75), "area that is covered"
    )
    period_s: float = parameter("s", 0.0, 60.0, (0.0,), "time of one swing; 0 hangs still")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._centre = self._rng.uniform(0.3, 0.7, 2)
        self._aspect = self._rng.uniform(0.7, 1.4)
        self._swing = self._rng.uniform(0.0, 2.0 * math.pi)
        self._time_s = 0.0

    def apply(self, delivery: Delivery) -> list[Delivery]:
        self._time_s = delivery.stamp_ns * 1e-9
        return super().apply(delivery)

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        covered = self._covered(*frame.shape[:2])
        noise = self._rng.standard_normal(frame.shape[:2], dtype=np.float32)
        damaged = frame.copy()
        if self.kind == "rgb":
            surface = np.array(COLOUR, np.float32) + TEXTURE * noise[..., None]
            damaged[covered] = np.rint(surface).clip(0, 255).astype(np.uint8)[covered]
        elif self.kind == "depth":
            damaged[covered] = (DISTANCE_M + DISTANCE_NOISE_M * noise)[covered]
        elif self.kind == "thermal":
            damaged[covered] = (TEMPERATURE_C + TEMPERATURE_NOISE_C * noise)[covered]
        else:
            damaged[covered] = LABEL
        return damaged

    def _covered(self, height: int, width: int) -> np.ndarray:
        """(height, width) bool, with exactly the share of the pixels that is asked for."""
        x, y = self._centre
        if self.period_s > 0.0:
            x += 0.35 * math.sin(2.0 * math.pi * self._time_s / self.period_s + self._swing)
        rows = (np.arange(height) + 0.5) / height - y
        columns = (np.arange(width) + 0.5) / width - x
        distance = np.hypot(rows[:, None] * self._aspect, columns[None, :] / self._aspect)
        # Where the frame cuts the ellipse off, it grows to the other side.
        count = round(self.share * distance.size)
        if count == 0:
            return np.zeros(distance.shape, bool)
        return distance <= np.partition(distance.ravel(), count - 1)[count - 1]
