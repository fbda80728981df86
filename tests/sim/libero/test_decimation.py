"""Decimation on meshes made here: outlines, islands and physics stay."""

import mujoco
import numpy as np
import pytest

from multismolvla.sim.libero import decimation
from multismolvla.sim.libero.decimation import decimate, fewer_triangles

N = 24


def sheet(fold=0.0):
    """A square of 1 m of 2 N^2 triangles: positions (F, 3, 3) and texture (F, 3, 2).

    The texture is cut at x = 0.5: the right half lies elsewhere. `fold` bends the sheet there.
    """
    column, row = np.meshgrid(np.arange(N), np.arange(N))
    corner = np.stack([column, row], -1).reshape(-1, 1, 2)
    steps = np.array([[0, 0], [1, 0], [1, 1], [0, 0], [1, 1], [0, 1]])
    plane = ((corner + steps) / N).reshape(-1, 3, 2)
    height = fold * np.maximum(plane[..., 0] - 0.5, 0.0)
    right = plane[..., 0].mean(1) > 0.5
    texture = plane + np.where(right, 3.0, 0.0)[:, None, None]
    return np.concatenate([plane, height[..., None]], -1), texture


def area(positions):
    edges = positions[:, 1:] - positions[:, :1]
    return np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum() / 2


def picked(values, corners):
    return values.reshape(-1, values.shape[-1])[corners]


@pytest.mark.parametrize("fold", [0.0, 0.7])
def test_a_flat_sheet_keeps_outline_fold_and_island(fold):
    positions, texture = sheet(fold)
    corners = decimate(positions, texture, target=16)
    assert len(corners) <= 16
    assert area(picked(positions, corners)) == pytest.approx(area(positions))
    # No triangle reaches from one island of the texture into the other.
    islands = picked(texture, corners)[..., 0] > 2.0
    assert (islands.all(1) | ~islands.any(1)).all()
    # The texture of every point is what it was: it is linear on each island, and so it stays.
    places = picked(positions, corners)[..., :2]
    expected = places + np.where(islands.all(1), 3.0, 0.0)[:, None, None]
    np.testing.assert_allclose(picked(texture, corners), expected)


def test_without_a_texture_the_sheet_becomes_two_triangles():
    positions, _ = sheet()
    assert len(decimate(positions, None, target=2)) == 2


def test_two_sheets_sewn_together_do_not_vanish():
    front, _ = sheet()
    back = front[:, ::-1].copy()
    back[..., 2] = -1e-3 * np.prod(np.sin(np.pi * back[..., :2]), -1)
    both = np.concatenate([front, back])
    corners = decimate(both, None, target=4)
    # Costs that are all but equal come in the order of a sine's last bits, and processors differ.
    assert 4 <= len(corners) <= 8
    assert area(picked(both, corners)) == pytest.approx(2.0, rel=1e-3)


def test_the_surface_stays_even_where_the_target_cannot_be_reached():
    front, _ = sheet()
    # Four triangles along every edge: nothing inside can be merged.
    both = np.concatenate([front, front[:, ::-1]])
    corners = decimate(both, None, target=4)
    assert len(corners) > 1000
    assert area(picked(both, corners)) == pytest.approx(2.0, rel=0.01)


def ball(contype=0):
    """A model with a mesh of a sphere of 2 N^2 triangles."""
    angle = np.linspace(0.0, 2.0 * np.pi, N, endpoint=False)
    polar = np.linspace(0.0, np.pi, N // 2 + 1)[1:-1]
    rings = np.stack(
        [
            np.outer(np.sin(polar), np.cos(angle)),
            np.outer(np.sin(polar), np.sin(angle)),
            np.repeat(np.cos(polar)[:, None], N, 1),
        ],
        -1,
    ).reshape(-1, 3)
    vertices = np.concatenate([rings, [[0, 0, 1], [0, 0, -1]]])
    top, bottom, last = len(rings), len(rings) + 1, (len(polar) - 1) * N
    faces = []
    for i in range(N):
        after = (i + 1) % N
        faces += [(top, i, after), (bottom, last + after, last + i)]
        for ring in range(len(polar) - 1):
            low, high = ring * N, (ring + 1) * N
            faces += [(low + i, high + i, high + after), (low + i, high + after, low + after)]
    text = " ".join(map(str, vertices.reshape(-1)))
    indices = " ".join(map(str, np.reshape(faces, -1)))
    return mujoco.MjModel.from_xml_string(
        f"<mujoco><asset><mesh name='ball' vertex='{text}' face='{indices}'/></asset><worldbody>"
        f"<geom type='mesh' mesh='ball' group='1' contype='{contype}' conaffinity='0'/>"
        "</worldbody></mujoco>"
    )


def arrays(model):
    names = ("mesh_facenum", "mesh_face", "mesh_facenormal", "mesh_facetexcoord")
    return [getattr(model, name).copy() for name in names]


def test_the_model_has_fewer_triangles_only_inside(monkeypatch, tmp_path):
    monkeypatch.setattr(decimation, "_CACHE", tmp_path)
    model = ball()
    before = arrays(model)
    with fewer_triangles(model, (1,), target=200):
        assert model.mesh_facenum[0] <= 200
        faces = model.mesh_face[: model.mesh_facenum[0]]
        normals = model.mesh_normal[model.mesh_facenormal[: model.mesh_facenum[0]]]
        triangles = model.mesh_vert[faces]
        # Every triangle looks out of the ball and so do the normals of its corners.
        outwards = np.cross(*(triangles[:, 1:] - triangles[:, :1]).transpose(1, 0, 2))
        assert (np.einsum("ni,nki->nk", outwards, normals) > 0).all()
        assert (np.einsum("ni,nki->nk", outwards, triangles) > 0).all()
        assert area(triangles) == pytest.approx(4 * np.pi, rel=0.15)
    for old, new in zip(before, arrays(model), strict=True):
        np.testing.assert_array_equal(new, old)


def test_the_second_time_comes_from_the_cache_and_a_broken_cache_does_no_harm(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(decimation, "_CACHE", tmp_path)
    model = ball()
    with fewer_triangles(model, (1,), target=200):
        first = arrays(model)
    with monkeypatch.context() as patch:
        patch.setattr(decimation, "decimate", None)
        with fewer_triangles(model, (1,), target=200):
            second = arrays(model)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"no array")
    with fewer_triangles(model, (1,), target=200):
        third = arrays(model)
    for one, two, three in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_what_collides_or_is_not_drawn_is_left_alone():
    for model, groups in ((ball(contype=1), (1,)), (ball(), (0,))):
        before = arrays(model)
        with fewer_triangles(model, groups, target=200):
            for old, new in zip(before, arrays(model), strict=True):
                np.testing.assert_array_equal(new, old)
