"""Sizes and places on the simulated table, for predicates and the expert.

They repeat assets/scene.xml, so that neither needs MuJoCo; a test holds the two together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """What grasping and placing an object needs to know about it, metres and radians.

    Attributes:
        half_height: half its height as it stands at reset.
        half_length: half its longest horizontal side.
        width: distance between the two faces that the fingers take.
        turn: rotation about the vertical after which it can be grasped the same way; 0 means any.
        grip_height: height of the fingers above its centre when it is grasped.
    """

    half_height: float
    half_length: float
    width: float
    turn: float
    grip_height: float


# The fingers take the brick across its short side, which is its local y axis.
SHAPES: dict[str, Shape] = {
    "red_cube": Shape(0.015, 0.015, 0.030, math.pi / 2, 0.002),
    "blue_cylinder": Shape(0.030, 0.014, 0.028, 0.0, 0.008),
    "green_brick": Shape(0.009, 0.035, 0.024, math.pi, 0.004),
}

BIN_CENTRE = (0.135, 0.16)
BIN_INNER_HALF = 0.057
BIN_FLOOR = 0.004
BIN_RIM = 0.040
PLATE_CENTRE = (0.145, -0.16)
PLATE_RADIUS = 0.060
PLATE_TOP = 0.006
