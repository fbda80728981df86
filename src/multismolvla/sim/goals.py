"""What "done" means: one object in one place, judged from the scene alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multismolvla.sim.layout import (
    BIN_CENTRE,
    BIN_INNER_HALF,
    BIN_RIM,
    PLATE_CENTRE,
    PLATE_RADIUS,
    PLATE_TOP,
    half_height,
)

# A resting object's vibration in the simulator stays below a tenth of this.
REST_SPEED_M_S = 0.02
# Centre to centre: the fingers still fit between the two.
BESIDE_M = 0.055
BESIDE_SUCCESS_M = 0.070


@dataclass(frozen=True)
class Scene:
    """The state of the table that goals are judged by.

    Attributes:
        poses: object -> (7,) x, y, z, qw, qx, qy, qz in base_link.
        speeds: object -> speed of its centre, m/s.
        touched: objects that the arm touches.
    """

    poses: Mapping[str, np.ndarray]
    speeds: Mapping[str, float]
    touched: frozenset[str]


@dataclass(frozen=True)
class Goal:
    """Bring `name` to `place`: `bin`, `plate`, or `on` or `beside` the object `reference`."""

    name: str
    place: str
    reference: str | None = None

    def satisfied(self, scene: Scene) -> bool:
        """Whether the object lies still in its place and the gripper has let go of it."""
        return (
            self.name not in scene.touched
            and scene.speeds[self.name] < REST_SPEED_M_S
            and self.reached(scene.poses)
        )

    def reached(self, poses: Mapping[str, np.ndarray]) -> bool:
        """Whether the object is in its place, held or not, moving or not."""
        x, y, z = (float(value) for value in poses[self.name][:3])
        low = half_height(self.name, poses[self.name]) + 0.006
        if self.place == "bin":
            inside = max(abs(x - BIN_CENTRE[0]), abs(y - BIN_CENTRE[1])) < BIN_INNER_HALF
            return inside and z < BIN_RIM + 0.02
        if self.place == "plate":
            inside = math.hypot(x - PLATE_CENTRE[0], y - PLATE_CENTRE[1]) < PLATE_RADIUS
            return inside and z < PLATE_TOP + low
        other_x, other_y, other_z = (float(value) for value in poses[self.reference][:3])
        apart = math.hypot(x - other_x, y - other_y)
        if self.place == "on":
            top = other_z + half_height(self.reference, poses[self.reference])
            return apart < 0.020 and top < z < top + low
        return apart < BESIDE_SUCCESS_M and z < low
