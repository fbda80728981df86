"""What pushes the arm off its way in demonstrations, so that the way back is seen as well.

Noise in the executed actions, not in the labels, as in DART (Laskey et al. 2017).
"""

from __future__ import annotations

import math

import numpy as np

from multismolvla.arm import JOINT_NAMES

# At a scale of 1. 0.05 rad in the shoulder moves the fingers by 15 mm, half an object's width.
DEVIATION_RAD = np.array([0.05, 0.05, 0.05, 0.06, 0.10, 0.06])
CORRELATION_S = 0.4
PUSH_RAD = np.array([0.25, 0.20, 0.20, 0.25, 0.40, 0.25])
PUSHES_PER_S = 0.2
PUSH_S = 0.5


class Disturbance:
    """A wandering offset per joint (Ornstein-Uhlenbeck), and now and then a push that comes and
    goes within half a second. A scale of 0 gives zeros."""

    def __init__(self, rng: np.random.Generator, scale: float, period_s: float) -> None:
        self._rng = rng
        self._scale = scale
        self._period_s = period_s
        self._keep = math.exp(-period_s / CORRELATION_S)
        # Starts at rest: the arm is at home when an episode begins.
        self._offset = np.zeros(len(JOINT_NAMES))
        self._push = np.zeros(len(JOINT_NAMES))
        self._push_age_s = math.inf

    def step(self) -> np.ndarray:
        """(6,) radians to add to the next action."""
        # Draws what it draws at every scale, so that a seed means the same pushes.
        spread = math.sqrt(1.0 - self._keep**2) * DEVIATION_RAD
        self._offset = self._keep * self._offset + spread * self._rng.standard_normal(6)
        self._push_age_s += self._period_s
        if self._rng.random() < PUSHES_PER_S * self._period_s and self._push_age_s > PUSH_S:
            direction = self._rng.standard_normal(len(JOINT_NAMES))
            self._push = PUSH_RAD * direction / np.linalg.norm(direction)
            self._push_age_s = 0.0
        swell = 0.0
        if self._push_age_s < PUSH_S:
            swell = math.sin(math.pi * self._push_age_s / PUSH_S) ** 2
        return self._scale * (self._offset + swell * self._push)
