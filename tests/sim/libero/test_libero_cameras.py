"""LIBERO's cameras against LIBERO's own renderer, its geometry and its physics."""

import re
import threading
from pathlib import Path

import mujoco
import numpy as np
import pytest

from multismolvla.modalities.segmentation import LABELS
from multismolvla.sim.libero.cameras import CAMERAS, CATEGORIES, libero_cameras, libero_setup
from multismolvla.sim.libero.decimation import fewer_triangles
from multismolvla.sim.libero.package import load
from multismolvla.sim.offscreen import OffscreenContext
from multismolvla.sim.renderer import Renderer
from multismolvla.streams import load_stream_table

TABLE = load_stream_table(Path(__file__).parents[3] / "config" / "libero" / "streams.yaml")
SIZE = 96


@pytest.fixture(scope="module")
def world(libero_world):
    libero_world.start("goal/0", 0)
    return libero_world


@pytest.fixture(scope="module", params=[False, True], ids=["fast", "official"])
def frames(request, world):
    cameras = libero_cameras(world, TABLE, official=request.param)
    rendered = cameras.render(world.data, TABLE.names, 0.0)
    cameras.close()
    return rendered


def test_the_table_has_every_kind_of_both_views():
    kinds = ("rgb", "depth", "thermal", "segmentation")
    assert TABLE.names == tuple(f"{view}/{kind}" for view in CAMERAS for kind in kinds)
    for view in CAMERAS:
        sources = tuple(f"{view}/{kind}" for kind in kinds[:-1])
        assert TABLE.derived[f"{view}/segmentation"] == sources
    assert {stream.rate_hz for stream in TABLE} == {20.0}


def test_official_pictures_are_robosuites_turned_by_180_degrees(world, monkeypatch):
    # A new renderer of robosuite's does this; after a step positions are one time step old.
    world.env.sim.forward()
    setup = libero_setup(world, official=True)
    renderer = Renderer(
        world.model,
        SIZE,
        SIZE,
        geom_groups=setup.geom_groups,
        mirrored=setup.mirrored,
        full_quality=setup.full_quality,
    )
    ours = {}
    for view, name in CAMERAS.items():
        renderer.look(world.data, world.model.camera(name).id, SIZE, SIZE)
        ours[view], _ = renderer.colour_and_depth(colour=True, depth=False)
    renderer.close()

    binding = load("robosuite.utils.binding_utils")
    monkeypatch.setattr(
        binding,
        "GLContext",
        lambda max_width, max_height, device_id: OffscreenContext(
            max_width, max_height, threading.Lock()
        ),
    )
    theirs = binding.MjRenderContextOffscreen(world.env.sim, device_id=0)
    theirs.vopt.geomgroup[0] = 0
    for view, name in CAMERAS.items():
        theirs.render(SIZE, SIZE, camera_id=world.model.camera(name).id)
        raw = theirs.read_pixels(SIZE, SIZE)
        np.testing.assert_array_equal(ours[view], raw[::-1, ::-1])
    world.env.sim._render_context_offscreen = None


def test_fast_and_official_pictures_show_the_same(world):
    pictures = []
    for official in (False, True):
        cameras = libero_cameras(world, TABLE, official=official)
        pictures.append(cameras.render(world.data, TABLE.names, 0.0))
        cameras.close()
    fast, official = pictures
    for view in CAMERAS:
        labels = [one[f"{view}/segmentation"] for one in pictures]
        assert set(np.unique(labels[0])) == set(np.unique(labels[1]))
        assert (labels[0] != labels[1]).mean() < 0.01
        difference = fast[f"{view}/rgb"].astype(float) - official[f"{view}/rgb"]
        assert np.abs(difference).mean() < 10.0
        depth = fast[f"{view}/depth"] - official[f"{view}/depth"]
        assert np.nanmedian(np.abs(depth)) < 0.01


def test_things_are_where_the_intrinsics_say(world, frames):
    cameras = libero_cameras(world, TABLE)
    fx, fy, cx, cy = cameras.intrinsics("agentview/segmentation")
    cameras.close()
    # Left and right are exchanged.
    assert fx == -fy
    camera = world.data.camera(CAMERAS["agentview"])
    for name in ("plate_1", "akita_black_bowl_1", "cream_cheese_1", "flat_stove_1"):
        x, y, z = camera.xmat.reshape(3, 3).T @ (world.object_poses()[name][:3] - camera.xpos)
        column, row = round(fx * x / -z + cx), round(fy * -y / -z + cy)
        label, temperature_c = CATEGORIES[world.instances[name]]
        assert LABELS[frames["agentview/segmentation"][row, column]] == label, name
        thermal_c = frames["agentview/thermal"][row, column]
        # The lens blurs small things into the table.
        assert thermal_c == pytest.approx(temperature_c, abs=6.0), name
        around_m = frames["agentview/depth"][row - 1 : row + 2, column - 1 : column + 2]
        # A thing's origin lies inside of it: a bowl's rim is 7 cm nearer to the camera.
        assert np.nanmedian(around_m) == pytest.approx(-z, abs=0.1), name


def test_robot_table_and_room_have_their_labels(frames):
    names = {LABELS[label] for label in np.unique(frames["agentview/segmentation"])}
    assert {"arm", "gripper", "table", "background", "bin", "plate"} <= names
    # The hand is at the lower edge of the wrist's picture.
    assert LABELS[frames["wrist/segmentation"][-1, 48]] == "gripper"


def test_a_stove_that_is_on_glows_and_keeps_its_label(world):
    site = world.model.site("flat_stove_1_burner").id
    cameras = libero_cameras(world, TABLE)
    names = ("wrist/rgb", "wrist/segmentation")
    before = cameras.render(world.data, names, 0.0)
    kept = world.model.site_rgba[site].copy()
    world.model.site_rgba[site, 3] = 1.0
    after = cameras.render(world.data, names, 0.0)
    world.model.site_rgba[site] = kept
    cameras.close()
    red = after["wrist/rgb"][..., 0].astype(int) - before["wrist/rgb"][..., 0]
    assert red.max() > 60
    np.testing.assert_array_equal(*(one["wrist/segmentation"] for one in (before, after)))


def test_physics_does_not_see_the_decimation(world):
    def final_state():
        world.start("goal/0", 1)
        for action in np.random.default_rng(0).uniform(-1, 1, (10, 7)):
            world.step(action)
        return np.concatenate([world.data.qpos, world.data.qvel])

    expected = final_state()
    model = world.model
    seen = (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH) & (model.geom_group == 1)
    with fewer_triangles(model, (1,)):
        assert model.mesh_facenum[model.geom_dataid[seen]].max() < 5000
        np.testing.assert_array_equal(final_state(), expected)
    np.testing.assert_array_equal(final_state(), expected)


def test_every_category_of_the_forty_tasks_has_a_label(libero_world):
    from multismolvla.sim.libero.tasks import libero_tasks

    for task in libero_tasks():
        text = task.bddl_file.read_text()
        for part in ("fixtures", "objects"):
            (lines,) = re.findall(rf"\(:{part}\s(.*?)\)", text, re.S)
            categories = set(re.findall(r" - (\w+)", lines))
            assert categories <= CATEGORIES.keys(), task.id


def test_every_label_and_temperature_is_possible():
    for category, (label, temperature_c) in CATEGORIES.items():
        assert label in LABELS, category
        assert 0.0 < temperature_c < 60.0, category


def test_a_category_without_a_label_is_named(world, monkeypatch):
    monkeypatch.delitem(CATEGORIES, "wine_rack")
    with pytest.raises(ValueError, match="category 'wine_rack', which has no label"):
        libero_setup(world)
