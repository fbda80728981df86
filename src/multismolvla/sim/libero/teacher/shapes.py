"""What can be hit and held: collision geometry as boxes, the hand as boxes, grasps of an object.

LIBERO's collision geometry is made of boxes. A mesh or capsule counts as the box around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

# The hand's collision geometry in the grip point's frame: z out of the hand, fingers along x.
PALM_M = 0.031
TIP_M = 0.0095
OPEN_HALF_M = 0.0385
_FINGER_HALF_Y = 0.0106
# Spacing of points on a surface, and the grid that they are rounded to.
_SPACING_M, _GRID_M = 0.005, 0.001


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
    # Where boxes overlap, points are all but the same.
    return np.unique(np.round(np.concatenate(points) / _GRID_M) * _GRID_M, axis=0)


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
_WIDEST_M, _THINNEST_M = 0.072, 0.003
# Between the pads' inner faces, with a little air; what a finger takes up beside it.
_INNER_M = OPEN_HALF_M - 0.0015
_FINGER_M = 0.018
# Grips deeper than this below the top hold no better.
_DEEP_M = 0.024
_APART = np.array([0.016, 0.016, 0.006])
_KEEP = 250


def find_grasps(points: np.ndarray, centre: np.ndarray, axis: np.ndarray) -> Grasps:
    """Grasps along `axis` that hold the points between the pads and hit none of them.

    Args:
        points: (n, 3) of the thing's surface.
        centre: (3,) its centre of mass.
        axis: (3,) unit, the hand's z.
    """
    found: dict[tuple[int, ...], tuple[float, np.ndarray, np.ndarray, float]] = {}
    side = np.array([1.0, 0.0, 0.0]) if abs(axis[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    side -= side @ axis * axis
    side /= np.linalg.norm(side)
    for roll in range(_ROLLS):
        angle = roll * np.pi / _ROLLS
        x = np.cos(angle) * side + np.sin(angle) * np.cross(axis, side)
        rotation = np.stack([x, np.cross(axis, x), axis], 1)
        for cost, width, at in _grasps_of_roll(points @ rotation, centre @ rotation):
            # The best of every neighbourhood; depths stay apart, for the ground allows not all.
            key = (roll, *np.floor(at / _APART).astype(int).tolist())
            if key not in found or cost < found[key][0]:
                found[key] = cost, rotation @ at, rotation, width
    kept = sorted(found.values(), key=lambda item: item[0])[:_KEEP]
    if not kept:
        return Grasps(np.empty((0, 3)), np.empty((0, 3, 3)), np.empty(0), np.empty(0))
    cost, position, rotation, width = zip(*kept, strict=True)
    return Grasps(np.array(position), np.array(rotation), np.array(width), np.array(cost))


def _grasps_of_roll(
    points: np.ndarray, centre: np.ndarray
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Cost, width and grip point of grasps with the hand's axes as the axes of the points."""
    low, high = points.min(0), points.max(0)
    rows = np.linspace(low[1] + 0.004, high[1] - 0.004, max(1, round((high[1] - low[1]) / 0.008)))
    levels = np.arange(low[2] + 0.004, high[2], 0.003)
    for y in rows:
        from_row = np.abs(points[:, 1] - y)
        near, wide, broad = (points[from_row < w][:, ::2] for w in (0.008, 0.0126, 0.034))
        beyond = points[from_row < 0.008, 1] - y
        for z in levels:
            touched = (near[:, 1] > z - 0.0116) & (near[:, 1] < z + 0.0044)
            pads = np.sort(near[touched, 0])
            if len(pads) < 3:
                continue
            # Gaps that a finger fits in part the pads' points into runs.
            ends = np.flatnonzero(np.diff(pads) > _FINGER_M)
            starts = pads[np.concatenate([[0], ends + 1])]
            stops = pads[np.concatenate([ends, [len(pads) - 1]])]
            above = broad[broad[:, 1] < z - PALM_M + 0.003, 0]
            beside = wide[wide[:, 1] < z + TIP_M + 0.001, 0]
            inside = wide[wide[:, 1] < z + 0.0044, 0]
            for first in range(len(starts)):
                for last in range(first, len(stops)):
                    left, right = starts[first], stops[last]
                    middle, width = 0.5 * (left + right), right - left
                    if not _THINNEST_M < width < _WIDEST_M:
                        continue
                    if (np.abs(above - middle) < 0.106).any():
                        continue
                    reach = np.abs(beside - middle)
                    if ((reach > _INNER_M) & (reach < _INNER_M + _FINGER_M)).any():
                        continue
                    squeezed = inside[np.abs(inside - middle) < _INNER_M]
                    if max(squeezed.max() - right, left - squeezed.min()) > 0.003:
                        continue
                    grip = np.stack([near[touched, 0], beyond[touched]], 1)
                    grip = grip[(grip[:, 0] >= left) & (grip[:, 0] <= right)]
                    depth = z - near[np.abs(near[:, 0] - middle) < _INNER_M, 1].min()
                    lever = np.hypot(middle - centre[0], y - centre[1])
                    shallow = max(0.0, _DEEP_M - depth)
                    cost = 4.0 * width + 6.0 * lever + 12.0 * shallow + 40.0 * _skew(grip, middle)
                    yield cost, width, np.array([middle, y, z])


def _skew(pads: np.ndarray, middle: float) -> float:
    """How far the faces under the pads are from parallel to them, metres.

    Fingers that close on a slanted wall turn it: the thing then hangs askew.
    """
    sides = []
    for face, sign in ((pads[:, 0] < middle, 1.0), (pads[:, 0] >= middle, -1.0)):
        here, there = (pads[face & half, 0] for half in (pads[:, 1] < 0.0, pads[:, 1] > 0.0))
        if len(here) and len(there):
            sides.append(abs((sign * here).min() - (sign * there).min()))
    return float(np.mean(sides)) if sides else 0.0
