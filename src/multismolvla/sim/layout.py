"""Sizes and places on the simulated table, for predicates and the expert.

They repeat assets/scene.xml, so that neither needs MuJoCo; a test holds the two together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """Half extents along the object's own axes, metres; `round` is a cylinder about its z axis."""

    half: tuple[float, float, float]
    round: bool = False


SHAPES: dict[str, Shape] = {
    "red_cube": Shape((0.015, 0.015, 0.015)),
    "blue_cylinder": Shape((0.014, 0.014, 0.030), round=True),
    "green_brick": Shape((0.035, 0.012, 0.009)),
}

BIN_CENTRE = (0.135, 0.168)
BIN_INNER_HALF = 0.057
BIN_FLOOR = 0.004
BIN_RIM = 0.040
PLATE_CENTRE = (0.145, -0.168)
PLATE_RADIUS = 0.060
PLATE_TOP = 0.006


def rotation_of(pose: np.ndarray) -> np.ndarray:
    """(3, 3) rotation of a (7,) pose x, y, z, qw, qx, qy, qz; columns are the object's axes."""
    w, x, y, z = pose[3:].tolist()
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def half_height(name: str, pose: np.ndarray) -> float:
    """Half the vertical extent of an object as it lies, metres."""
    half = SHAPES[name].half
    w, x, y, z = pose[3:].tolist()
    # The last row of `rotation_of`: how far each of the object's axes points up.
    up = abs(2 * (x * z - w * y)), abs(2 * (y * z + w * x)), abs(1 - 2 * (x * x + y * y))
    if SHAPES[name].round:
        return up[2] * half[2] + math.sqrt(max(0.0, 1.0 - up[2] ** 2)) * half[0]
    return up[0] * half[0] + up[1] * half[1] + up[2] * half[2]
