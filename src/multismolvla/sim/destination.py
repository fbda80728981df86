"""Where an object has to go for a goal, as the expert sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multismolvla.sim.goals import BESIDE_M, Goal
from multismolvla.sim.layout import (
    BIN_CENTRE,
    BIN_FLOOR,
    PLATE_CENTRE,
    PLATE_TOP,
    half_height,
)

# Each object has its own corner of the bin, so that all three fit with the fingers around them.
BIN_SLOTS = {
    "red_cube": (0.025, 0.020),
    "blue_cylinder": (-0.025, 0.020),
    "green_brick": (0.0, -0.031),
}
# In the bin the fingers close along y, between the objects; the brick then lies along x.
BIN_CLOSING_YAW = math.pi / 2

# The load is let go this far above its support.
RELEASE_M = 0.003
# An object lower than this above its support counts as put down; in the bin it may drop a little.
PUT_DOWN_M, DROP_M = 0.007, 0.020

# Height of the load's lowest point while carried: over the bin's rim, and over a standing cylinder.
OVER_RIM_M, OVER_ALL_M = 0.055, 0.068


@dataclass(frozen=True)
class Destination:
    """Where to bring an object.

    Attributes:
        position: (3,) x and y of its centre and height of its lowest point, metres, at release.
        support: height of what it will stand on.
        put_down: how far above the support it may be let go.
        carry_height: height of its lowest point while carried.
        closing_yaw: direction, up to half a turn, along which the fingers shall close; None = any.
    """

    position: np.ndarray
    support: float
    put_down: float
    carry_height: float
    closing_yaw: float | None

    def holds_already(self, goal: Goal, poses: Mapping[str, np.ndarray]) -> bool:
        """Whether the object is there and low enough to be let go."""
        bottom = float(poses[goal.name][2]) - half_height(goal.name, poses[goal.name])
        return goal.reached(poses) and bottom < self.support + self.put_down


def destination(goal: Goal, poses: Mapping[str, np.ndarray]) -> Destination:
    """The destination of a goal's object, given where everything is now."""
    carry_height = OVER_RIM_M if goal.name == "blue_cylinder" else OVER_ALL_M
    yaw, drop = None, PUT_DOWN_M
    if goal.place == "bin":
        slot = BIN_SLOTS[goal.name]
        x, y, support = BIN_CENTRE[0] + slot[0], BIN_CENTRE[1] + slot[1], BIN_FLOOR
        yaw, drop = BIN_CLOSING_YAW, DROP_M
    elif goal.place == "plate":
        (x, y), support = PLATE_CENTRE, PLATE_TOP
    else:
        other = poses[goal.reference]
        x, y, support = float(other[0]), float(other[1]), 0.0
        if goal.place == "on":
            support = float(other[2]) + half_height(goal.reference, other)
        else:
            # On the side from which it comes, with the fingers clear of the other object.
            side = poses[goal.name][:2] - other[:2]
            angle = math.atan2(side[1], side[0])
            x, y = x + BESIDE_M * math.cos(angle), y + BESIDE_M * math.sin(angle)
            yaw = angle + math.pi / 2
    position = np.array([x, y, support + RELEASE_M])
    return Destination(position, support, drop, carry_height, yaw)
