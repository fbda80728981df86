"""What can be hit and held: collision geometry as boxes, the hand as boxes, grasps of an object.

LIBERO's collision geometry is made of boxes. A mesh or capsule counts as the box around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

# The hand's collision geometry in the grip point's frame: z out of the hand, fingers along x.
PALM_M = 0.031
TIP_M = 0.0095
OPEN_HALF_M = 0.0385
_FINGER_HALF_Y = 0.0106
_SPACING_M = 0.005


@dataclass(frozen=True)
class Boxes:
    """Oriented boxes: centres (n, 3), rotations (n, 3, 3), half sizes (n, 3), metres."""

    centre: np.ndarray
    rotation: np.ndarray
    half: np.ndarray

    def __len__(self) -> int:
        return len(self.half)

    def __getitem__(self, index) -> Boxes:
        return Boxes(self.centre[index], self.rotation[index], self.half[index])

    def moved(self, position: np.ndarray, rotation: np.ndarray) -> Boxes:
        """The same after a rotation about the origin, then a shift."""
        return Boxes(self.centre @ rotation.T + position, rotation @ self.rotation, self.half)

    def extent(self) -> np.ndarray:
        """(n, 3) half sizes of the axis-aligned boxes around them."""
        return np.einsum("nij,nj->ni", np.abs(self.rotation), self.half)

    def low(self) -> np.ndarray:
        return self.centre - self.extent()

    def high(self) -> np.ndarray:
        return self.centre + self.extent()


def hit(one: Boxes, other: Boxes, margin: float = 0.0) -> np.ndarray:
    """(n, m) whether box n of one comes within about `margin` of box m of the other.

    By the face axes of both (a pair of boxes edge on edge may count as a hit from slightly afar).
    """
    apart = other.centre[None] - one.centre[:, None]
    radius = np.linalg.norm(one.half, axis=1)[:, None] + np.linalg.norm(other.half, axis=1) + margin
    found = (apart * apart).sum(-1) < radius * radius
    n, m = np.nonzero(found)
    a, b = one.half[n] + margin, other.half[m]
    to_a, to_b = one.rotation[n].transpose(0, 2, 1), other.rotation[m].transpose(0, 2, 1)
    apart = apart[n, m][:, :, None]
    reach = np.abs(to_a @ other.rotation[m])
    far_a = np.abs(to_a @ apart)[..., 0] > a + (reach @ b[:, :, None])[..., 0]
    far_b = np.abs(to_b @ apart)[..., 0] > b + (reach.transpose(0, 2, 1) @ a[:, :, None])[..., 0]
    found[n, m] = ~(far_a.any(1) | far_b.any(1))
    return found


def hand_boxes(half_opening: float = OPEN_HALF_M, wrist: bool = True) -> Boxes:
    """Hand, fingers and (optionally) wrist in the grip point's frame."""
    o = half_opening
    spans = [
        ((-0.104, 0.104), (-0.032, 0.032), (-0.123, -PALM_M)),
        ((o, o + 0.0155), (-_FINGER_HALF_Y, _FINGER_HALF_Y), (-0.026, TIP_M)),
        ((-o - 0.0155, -o), (-_FINGER_HALF_Y, _FINGER_HALF_Y), (-0.026, TIP_M)),
        ((o, o + 0.027), (-_FINGER_HALF_Y, _FINGER_HALF_Y), (-0.045, -0.02)),
        ((-o - 0.027, -o), (-_FINGER_HALF_Y, _FINGER_HALF_Y), (-0.045, -0.02)),
    ]
    if wrist:
        spans.append(((-0.06, 0.06), (-0.06, 0.06), (-0.25, -0.123)))
    low, high = np.array(spans).transpose(2, 0, 1)
    return Boxes(0.5 * (low + high), np.tile(np.eye(3), (len(low), 1, 1)), 0.5 * (high - low))


class Scene:
    """The collision geometry of a model, by the body whose free joint (or fixture) carries it."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model = model
        collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
        names = [model.body(body).name for body in range(model.nbody)]
        robot = np.array([name.startswith(("robot0", "gripper0", "mount0")) for name in names])
        self.geoms = np.flatnonzero(collides & ~robot[model.geom_bodyid])
        self.body = model.geom_bodyid[self.geoms]
        self._middle = model.geom_aabb[self.geoms, :3].copy()
        self._half = model.geom_aabb[self.geoms, 3:].copy()
        # The floor: what is below it does not matter, and its extent is not infinite.
        plane = model.geom_type[self.geoms] == mujoco.mjtGeom.mjGEOM_PLANE
        self._middle[plane], self._half[plane] = (0.0, 0.0, -0.1), (5.0, 5.0, 0.1)

    def boxes(self, data: mujoco.MjData) -> Boxes:
        """All of it now, world frame, in the order of `body`."""
        rotation = data.geom_xmat[self.geoms].reshape(-1, 3, 3)
        centre = data.geom_xpos[self.geoms] + np.einsum("nij,nj->ni", rotation, self._middle)
        return Boxes(centre, rotation, self._half)

    def of(self, bodies: Sequence[int]) -> np.ndarray:
        """Mask over the boxes: those that belong to one of these bodies."""
        return np.isin(self.body, bodies)

    def subtree(self, root: int) -> list[int]:
        """A body and everything that hangs on it."""
        parents = self.model.body_parentid
        found = {root}
        for body in range(root + 1, self.model.nbody):
            if parents[body] in found:
                found.add(body)
        return sorted(found)


def surface_points(boxes: Boxes) -> np.ndarray:
    """(n, 3) points on all boxes, at most 5 mm apart."""
    points = []
    for centre, rotation, half in zip(boxes.centre, boxes.rotation, boxes.half, strict=True):
        grids = [np.linspace(-h, h, max(2, int(np.ceil(2 * h / _SPACING_M)) + 1)) for h in half]
        grid = np.stack(np.meshgrid(*grids, indexing="ij"), -1).reshape(-1, 3)
        on = (np.abs(np.abs(grid) - half) < 1e-9).any(-1)
        points.append(grid[on] @ rotation.T + centre)
    return np.concatenate(points)


@dataclass(frozen=True)
class Grasps:
    """Ways to hold a rigid thing, in its own frame, by one direction of approach.

    Attributes:
        position: (n, 3) grip points.
        rotation: (n, 3, 3) of the hand.
        width: (n,) of what is between the fingers, metres.
        cost: (n,) the lower, the better it holds.
    """

    position: np.ndarray
    rotation: np.ndarray
    width: np.ndarray
    cost: np.ndarray


_ROLLS = 12
_DEPTHS = (0.024, 0.018, 0.013, 0.009, 0.006)
_WIDEST_M = 0.072


def find_grasps(
    points: np.ndarray, centre: np.ndarray, axis: np.ndarray, keep: int = 120
) -> Grasps:
    """Grasps along `axis` that hold the points between the pads and hit none of them.

    Args:
        points: (n, 3) of the thing's surface.
        centre: (3,) its centre of mass.
        axis: (3,) unit, the hand's z.
    """
    found: list[tuple[np.ndarray, np.ndarray, float, float, float]] = []
    side = np.array([1.0, 0.0, 0.0]) if abs(axis[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    side -= side @ axis * axis
    side /= np.linalg.norm(side)
    for roll in np.arange(_ROLLS) * np.pi / _ROLLS:
        x = np.cos(roll) * side + np.sin(roll) * np.cross(axis, side)
        rotation = np.stack([x, np.cross(axis, x), axis], 1)
        _grasps_of_roll(points @ rotation, centre @ rotation, rotation, found)
    # Of every depth: which of them the ground allows is known only where the thing stands.
    found.sort(key=lambda item: item[3])
    kept = dict.fromkeys(_DEPTHS, 0)
    chosen = []
    for item in found:
        kept[item[4]] += 1
        if kept[item[4]] <= keep:
            chosen.append(item)
    found = chosen
    if not found:
        empty = np.empty(0)
        return Grasps(np.empty((0, 3)), np.empty((0, 3, 3)), empty, empty)
    position, rotation, width, cost, _ = zip(*found, strict=True)
    return Grasps(np.array(position), np.array(rotation), np.array(width), np.array(cost))


def _grasps_of_roll(points, centre, rotation, found) -> None:
    low, high = points.min(0), points.max(0)
    for y in np.arange(low[1] + 0.004, high[1], 0.008):
        near = points[np.abs(points[:, 1] - y) < 0.008]
        wide = points[np.abs(points[:, 1] - y) < _FINGER_HALF_Y + 0.002]
        broad = points[np.abs(points[:, 1] - y) < 0.034]
        if not len(near):
            continue
        seen = set()
        for x in np.arange(low[0] - 0.02, high[0] + 0.02, 0.006):
            between = near[np.abs(near[:, 0] - x) < OPEN_HALF_M - 0.002]
            if not len(between):
                continue
            top = between[:, 2].min()
            for depth in _DEPTHS:
                z = top + depth
                pads = between[(between[:, 2] > z - 0.0116) & (between[:, 2] < z + 0.0044)]
                if len(pads) < 3:
                    continue
                left, right = pads[:, 0].min(), pads[:, 0].max()
                middle, width = 0.5 * (left + right), right - left
                key = (round(middle, 3), depth)
                if width > _WIDEST_M or width < 0.003 or key in seen:
                    continue
                seen.add(key)
                reach = np.abs(wide[:, 0] - middle)
                inner = OPEN_HALF_M - 0.0015
                fingers = (
                    (reach > inner) & (reach < inner + 0.019) & (wide[:, 2] < z + TIP_M + 0.001)
                )
                above = (np.abs(broad[:, 0] - middle) < 0.106) & (broad[:, 2] < z - PALM_M + 0.003)
                # What comes between the pads on the way down must fit as well.
                if fingers.any() or above.any():
                    continue
                squeezed = wide[(reach < inner) & (wide[:, 2] < z + 0.0044)][:, 0]
                if max(squeezed.max() - right, left - squeezed.min()) > 0.003:
                    continue
                lever = np.hypot(middle - centre[0], y - centre[1])
                cost = 4.0 * width + 6.0 * lever + 12.0 * (0.024 - depth)
                at = np.array([middle, y, z])
                found.append((rotation @ at, rotation, width, cost, depth))
