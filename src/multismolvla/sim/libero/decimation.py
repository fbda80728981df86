"""Fewer triangles for what is only looked at, without tearing textures.

LIBERO's scans have up to 66 000 triangles each, for pictures of 96 pixels. Vertices are merged into
a neighbour one after another, the least visible first (quadric error, Garland and Heckbert 1997).
No vertex moves and none is new, so a mesh with fewer triangles is three index arrays; positions,
normals and texture coordinates stay as they are.

A texture is cut into islands: along their borders a vertex has two texture coordinates. Such a
vertex may only slide along the border, both sides together, so that nothing tears.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import mujoco
import numpy as np

_CACHE = Path.home() / ".cache" / "multismolvla" / "meshes"

# Passes before decimation gives up: what is left then are borders and sharp features.
_PASSES = 120
# What was refused is tried again after so many passes.
_MEMORY = 8
# The share of the vertices, cheapest first, that a pass may merge: dear ones wait for better times.
_SHARE = 0.4
# The surface moves by no more than this share of the mesh's size, whatever the target.
_FAR = 0.03
# A triangle may turn by no more than this (cosine of 78 degrees) when one of its corners moves.
_TURN = 0.2
# Weight of the plane that stands on an open edge, which keeps the outline.
_OUTLINE = 10.0
# Length of the sum of two unit normals below which an edge is a fold (155 degrees between them).
_FOLD = 0.45
# A corner's normal may be this far from its triangle's (cosine of 37 degrees).
_FITTING = 0.8
# Slightly prefers short edges where everything is flat.
_SHORT = 1e-6


@contextlib.contextmanager
def fewer_triangles(
    model: mujoco.MjModel, geom_groups: Sequence[int], target: int = 2500
) -> Iterator[None]:
    """Inside of it, meshes that are only looked at have at most about `target` triangles each.

    OpenGL's context copies the meshes while it is created, so that is all that has to be inside.
    Meshes of which any geom collides are left alone; physics reads none of what changes.

    Args:
        geom_groups: of the geoms that are drawn.
    """
    collides = (model.geom_contype | model.geom_conaffinity) != 0
    meshes = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    drawn = meshes & np.isin(model.geom_group, geom_groups) & ~collides
    wanted = set(model.geom_dataid[drawn]) - set(model.geom_dataid[meshes & collides])
    arrays = model.mesh_face, model.mesh_facenormal, model.mesh_facetexcoord
    counts, saved = model.mesh_facenum.copy(), {}
    try:
        for mesh in sorted(wanted):
            start, count = model.mesh_faceadr[mesh], counts[mesh]
            if count <= target:
                continue
            full = np.stack([array[start : start + count] for array in arrays])
            saved[start] = full
            fewer = _cached(model, mesh, full, target)
            for array, values in zip(arrays, fewer, strict=True):
                array[start : start + len(values)] = values
            model.mesh_facenum[mesh] = fewer.shape[1]
        yield
    finally:
        model.mesh_facenum[:] = counts
        for start, full in saved.items():
            for array, values in zip(arrays, full, strict=True):
                array[start : start + len(values)] = values


def _cached(model: mujoco.MjModel, mesh: int, indices: np.ndarray, target: int) -> np.ndarray:
    """The three index arrays (3, N, 3) int32 of a mesh with fewer triangles, computed once.

    Args:
        indices: (3, F, 3) vertex, normal and texture coordinates of each corner.
    """
    vertices = _slice(model.mesh_vert, model.mesh_vertadr, model.mesh_vertnum, mesh)
    normals = _slice(model.mesh_normal, model.mesh_normaladr, model.mesh_normalnum, mesh)
    texcoords = None
    if model.mesh_texcoordadr[mesh] >= 0:
        texcoords = _slice(
            model.mesh_texcoord, model.mesh_texcoordadr, model.mesh_texcoordnum, mesh
        )
    # This file is part of the key: another way of computing gives other names.
    digest = hashlib.sha256(Path(__file__).read_bytes() + str(target).encode())
    for array in (vertices, normals, texcoords, indices):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    file = _CACHE / f"{digest.hexdigest()[:32]}.npy"
    # Whatever is wrong with a cache, the mesh can be computed.
    with contextlib.suppress(OSError, ValueError, EOFError):
        return np.load(file, allow_pickle=False)
    faces, face_normals, face_texcoords = (part.reshape(-1) for part in indices)
    corners = decimate(
        vertices.astype(float)[indices[0]],
        None if texcoords is None else texcoords[indices[2]],
        target,
    )
    normal_corners = _fitting_normals(
        vertices.astype(float)[faces], normals[face_normals].astype(float), corners
    )
    fewer = np.stack([faces[corners], face_normals[normal_corners], face_texcoords[corners]])
    with contextlib.suppress(OSError):
        _CACHE.mkdir(parents=True, exist_ok=True)
        # Other processes may read and write the same file.
        part = file.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as stream:
            np.save(stream, fewer)
        part.replace(file)
    return fewer


def _slice(values: np.ndarray, starts: np.ndarray, counts: np.ndarray, mesh: int) -> np.ndarray:
    return values[starts[mesh] : starts[mesh] + counts[mesh]]


def _fitting_normals(positions: np.ndarray, normals: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The corner of the mesh as it was whose normal each new corner gets.

    That is one of the corners in the same place, so that what was smooth stays smooth. Where none
    of them fits the new triangle, as at a bevel that is gone, it is one from anywhere.

    Args:
        positions, normals: (3 F, 3) of the corners of the mesh as it was.
        corners: (N, 3) corner that each new corner was.

    Returns:
        (N, 3) corners.
    """
    _, place = np.unique(positions, axis=0, return_inverse=True)
    place = place.reshape(-1)
    by_place = np.argsort(place, kind="stable")
    counts = np.bincount(place)
    starts = np.cumsum(counts) - counts
    facing = np.repeat(_units(_normals(positions, corners)), 3, 0)
    wanted = place[corners.reshape(-1)]
    several = counts[wanted]
    new_corner = np.repeat(np.arange(len(wanted)), several)
    nth = np.arange(len(new_corner)) - np.repeat(np.cumsum(several) - several, several)
    candidate = by_place[starts[wanted][new_corner] + nth]
    fit = (normals[candidate] * facing[new_corner]).sum(1)
    # The last of the candidates of each corner after sorting is its best.
    last = np.lexsort([fit, new_corner])[np.cumsum(several) - 1]
    best, fit = candidate[last], fit[last]
    _, anywhere = np.unique(np.round(normals, 1), axis=0, return_index=True)
    for corner in np.flatnonzero(fit < _FITTING):
        best[corner] = anywhere[np.argmax(normals[anywhere] @ facing[corner])]
    return best.reshape(corners.shape)


def decimate(corners: np.ndarray, texcoords: np.ndarray | None, target: int) -> np.ndarray:
    """Merge vertices until at most `target` triangles are left, or no more can be merged.

    Args:
        corners: (F, 3, 3) position of each corner.
        texcoords: (F, 3, 2) texture coordinates of each corner; None without a texture.

    Returns:
        (N, 3) for each corner that is left, a corner of the mesh as it was, face * 3 + corner,
        that has its position and its texture coordinates.
    """
    # The same place may be stored several times; a seam is a place with several wedges.
    places, place_of_corner = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    key = place_of_corner.reshape(-1).astype(np.int64)
    if texcoords is not None:
        _, pair = np.unique(texcoords.reshape(-1, 2), axis=0, return_inverse=True)
        key = key * (pair.max() + 1) + pair.reshape(-1)
    _, corner_of_wedge, wedge_of_corner = np.unique(key, return_index=True, return_inverse=True)
    mesh = _Mesh(
        places, wedge_of_corner.reshape(-1, 3), place_of_corner.reshape(-1)[corner_of_wedge]
    )
    for _ in range(_PASSES):
        if len(mesh.wedges) <= target or not mesh.merge(len(mesh.wedges) - target):
            break
    return corner_of_wedge[mesh.wedges]


class _Mesh:
    """Triangles over wedges; a wedge is a place with one pair of texture coordinates."""

    def __init__(self, places: np.ndarray, wedges: np.ndarray, place: np.ndarray) -> None:
        self.places, self.wedges, self.place = places, wedges, place
        self._drop_degenerate()
        self._quadrics = np.zeros((len(places), 4, 4))
        self._add_planes()
        # Of the last passes the edges, source * places + goal, along which a triangle would have
        # turned over. By and by what is around them changes, and they get another chance.
        self._refused = [np.zeros(0, np.int64)] * _MEMORY

    def merge(self, surplus: int) -> bool:
        """One pass: merge vertices that do not touch each other; False where there was none."""
        source, goal, from_wedge, to_wedge = self._mergeable()
        cost = self._cost(source, goal)
        by_cost = np.argsort(cost)
        best = np.full(len(self.places), -1, np.int64)
        best[source[by_cost[::-1]]] = by_cost[::-1]
        best = best[best >= 0]
        # The squared distance is an average over the planes, by their weights.
        weights = np.einsum("nii->n", self._quadrics[source[best], :3, :3])
        best = best[cost[best] <= (_FAR * np.ptp(self.places, 0).max()) ** 2 * weights]
        best = best[np.argsort(cost[best])]
        rank = np.full(len(self.places), len(best), np.int64)
        rank[source[best]] = np.arange(len(best))
        # Of two that share a triangle the cheaper one is merged.
        corners = self.place[self.wedges]
        first = np.full(len(self.places), len(best), np.int64)
        np.minimum.at(first, corners.reshape(-1), np.repeat(rank[corners].min(1), 3))
        cheap = best[: int(_SHARE * len(best)) + 1]
        chosen = cheap[rank[source[cheap]] == first[source[cheap]]]
        # Every merged vertex takes two triangles with it.
        chosen = chosen[: -(-surplus // 2)]
        if not len(chosen):
            return False
        faces = self._keeps_facing(source[chosen], goal[chosen], corners)
        refused = chosen[~faces]
        key = source[refused] * len(self.places) + goal[refused]
        self._refused = [*self._refused[1:], key]
        chosen = chosen[faces]
        moves = np.arange(len(self.place))
        moves[from_wedge[chosen]] = to_wedge[chosen]
        np.add.at(self._quadrics, goal[chosen], self._quadrics[source[chosen]])
        self.wedges = moves[self.wedges]
        self._drop_degenerate()
        return True

    def _mergeable(self) -> tuple[np.ndarray, ...]:
        """Edges along which a vertex may be merged into another one.

        Returns:
            source, goal: (N,) places. from_wedge, to_wedge: (N, 2) wedges that go with them; both
            are the same where the vertex is no seam.
        """
        start, end = self.wedges.reshape(-1), np.roll(self.wedges, -1, 1).reshape(-1)
        swap = self.place[start] > self.place[end]
        low, high = np.where(swap, end, start), np.where(swap, start, end)
        key = self.place[low] * np.int64(len(self.places)) + self.place[high]
        order = np.argsort(key)
        low, high, key = low[order], high[order], key[order]
        begins = np.flatnonzero(np.diff(key, prepend=-1))
        # Triangles along the edge: two inside, one where the surface ends.
        triangles = np.diff(begins, append=len(key))
        begins, triangles = begins[triangles <= 2], triangles[triangles <= 2]
        # First and last triangle along the edge, the same one where the surface ends.
        sides = np.stack([begins, begins + triangles - 1], 1)
        low, high = low[sides], high[sides]
        outline = triangles == 1
        on_outline = np.zeros(len(self.places), bool)
        on_outline[self.place[low[outline]]] = on_outline[self.place[high[outline]]] = True
        used = np.zeros(len(self.place), bool)
        used[self.wedges] = True
        wedge_count = np.bincount(self.place[used], minlength=len(self.places))
        found = []
        for one, other in ((low, high), (high, low)):
            source = self.place[one[:, 0]]
            seam = one[:, 0] != one[:, 1]
            # Every wedge of the vertex needs one to go to, on its own side of the seam.
            valid = (1 + seam == wedge_count[source]) & (seam | (other[:, 0] == other[:, 1]))
            valid &= outline | ~on_outline[source]
            found.append((one[valid], other[valid]))
        from_wedge, to_wedge = (np.concatenate(part) for part in zip(*found, strict=True))
        source, goal = self.place[from_wedge[:, 0]], self.place[to_wedge[:, 0]]
        kept = ~np.isin(source * np.int64(len(self.places)) + goal, np.concatenate(self._refused))
        return source[kept], goal[kept], from_wedge[kept], to_wedge[kept]

    def _cost(self, source: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Squared distance from the planes of all triangles merged so far, times their area."""
        point = np.concatenate([self.places[goal], np.ones((len(goal), 1))], 1)
        lifted = (self._quadrics[source] @ point[:, :, None])[:, :, 0]
        length = ((self.places[goal] - self.places[source]) ** 2).sum(1)
        return (lifted * point).sum(1) + _SHORT * length**2

    def _keeps_facing(
        self, source: np.ndarray, goal: np.ndarray, corners: np.ndarray
    ) -> np.ndarray:
        """Whether no triangle turns over when the vertices `source` go to `goal`; (N,) bool.

        Of the vertices no two share a triangle.
        """
        into = np.arange(len(self.places))
        into[source] = goal
        moved = into[corners]
        touched = (moved != corners).any(1)
        old, new = corners[touched], moved[touched]
        gone = (new == np.roll(new, -1, 1)).any(1)
        before, after = _normals(self.places, old), _normals(self.places, new)
        scale = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        bad = ~gone & ((before * after).sum(1) < _TURN * scale)
        turned = np.zeros(len(self.places), bool)
        turned[old[bad][new[bad] != old[bad]]] = True
        # Nor may all triangles of a vertex vanish.
        stays = np.zeros(len(self.places), bool)
        stays[old[~gone]] = True
        return (stays & ~turned)[source]

    def _add_planes(self) -> None:
        corners = self.place[self.wedges]
        normal = _normals(self.places, corners)
        area = np.linalg.norm(normal, axis=1)
        unit = normal / np.maximum(area, 1e-30)[:, None]
        self._add(corners, unit, self.places[corners[:, 0]], area)
        # Outlines of the surface and of islands, and folds where a sheet turns back on itself: a
        # plane through the edge, upright on the triangle. Nothing else holds what is flat.
        start, end = self.wedges.reshape(-1), np.roll(self.wedges, -1, 1).reshape(-1)
        key = np.minimum(start, end) * np.int64(len(self.place)) + np.maximum(start, end)
        _, back, uses = np.unique(key, return_inverse=True, return_counts=True)
        back, facing = back.reshape(-1), np.repeat(unit, 3, 0)
        sums = np.stack([np.bincount(back, weights=part) for part in facing.T], 1)
        # Two units that face each other add up to nothing.
        bound = (uses == 1) | (np.linalg.norm(sums, axis=1) < _FOLD)
        start, end = self.place[start[bound[back]]], self.place[end[bound[back]]]
        along = self.places[end] - self.places[start]
        upright = np.cross(along, facing[bound[back]])
        length = np.linalg.norm(upright, axis=1)
        upright /= np.maximum(length, 1e-30)[:, None]
        ends = np.stack([start, end], 1)
        self._add(ends, upright, self.places[start], _OUTLINE * length**2)

    def _add(
        self, vertices: np.ndarray, unit: np.ndarray, point: np.ndarray, weight: np.ndarray
    ) -> None:
        """Add the quadric of a plane to each of the vertices (N, K)."""
        plane = np.concatenate([unit, -(unit * point).sum(1, keepdims=True)], 1)
        quadric = weight[:, None, None] * plane[:, :, None] * plane[:, None, :]
        for column in vertices.T:
            np.add.at(self._quadrics, column, quadric)

    def _drop_degenerate(self) -> None:
        corners = self.place[self.wedges]
        self.wedges = self.wedges[(corners != np.roll(corners, -1, 1)).all(1)]


def _normals(places: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Normal of each triangle (N, 3), as long as twice its area."""
    first, second, third = places[corners].transpose(1, 0, 2)
    return np.cross(second - first, third - first)


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)[:, None]
