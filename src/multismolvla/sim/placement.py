"""Seeded starting places for the objects: within reach, apart from each other, off the fixtures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from multismolvla.sim.layout import SHAPES

# Within reach of a hand that points down and lifts its load over the bin's rim, and clear of bin
# and plate by an open finger.
X_RANGE = (0.150, 0.262)
Y_RANGE = (-0.064, 0.060)
# Centre to centre: room for an open finger between any two objects.
CLEARANCE_M = 0.072
BRICK_CLEARANCE_M = 0.080
ATTEMPTS = 10_000

Poses = dict[str, np.ndarray]


def place_objects(
    rng: np.random.Generator, accept: Callable[[Mapping[str, np.ndarray]], bool]
) -> Poses:
    """Draw poses until `accept` likes them: object -> (7,) x, y, z, qw, qx, qy, qz in base_link.

    Raises:
        RuntimeError: `accept` refused every draw, so the task cannot be set up.
    """
    for _ in range(ATTEMPTS):
        poses = {name: _draw(rng, name) for name in SHAPES}
        if _apart(poses) and accept(poses):
            return poses
    raise RuntimeError(f"no acceptable placement in {ATTEMPTS} draws; relax the task's condition")


def _draw(rng: np.random.Generator, name: str) -> np.ndarray:
    x, y = rng.uniform(*X_RANGE), rng.uniform(*Y_RANGE)
    yaw = rng.uniform(-math.pi, math.pi)
    return np.array([x, y, SHAPES[name].half[2], math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)])


def _apart(poses: Poses) -> bool:
    names = list(poses)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            needed = BRICK_CLEARANCE_M if "green_brick" in (first, second) else CLEARANCE_M
            if math.dist(poses[first][:2], poses[second][:2]) < needed:
                return False
    return True
