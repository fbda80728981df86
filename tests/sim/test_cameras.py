"""The cameras against the geometry, light and temperatures of the real scene."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import mujoco
import numpy as np
import pytest

from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.segmentation import LABELS
from multismolvla.sim import offscreen
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.labels import label_of_geom
from multismolvla.sim.offscreen import RenderingError
from multismolvla.sim.renderer import Renderer
from multismolvla.sim.sensors import MAX_RANGE_M, DepthSensor, depth_noise_m
from multismolvla.streams import Stream, StreamTable, load_stream_table

ROOT = Path(__file__).parents[2]
TABLE = load_stream_table(ROOT / "config" / "streams.yaml")
SCENE = ROOT / "src" / "multismolvla" / "sim" / "assets" / "scene.xml"
OBJECTS = {"red_cube": "cube", "blue_cylinder": "cylinder", "green_brick": "brick"}


def load_scene(arm_rad=SO101.home_rad):
    model = mujoco.MjModel.from_xml_path(str(SCENE))
    data = mujoco.MjData(model)
    for name, position in zip(SO101.joint_names, arm_rad, strict=True):
        data.joint(name).qpos = position
    mujoco.mj_forward(model, data)
    return model, data


@pytest.fixture
def scene():
    return load_scene()


@pytest.fixture
def open_cameras():
    cameras = []

    def create(model, table=TABLE, seed=0):
        cameras.append(Cameras(model, table, seed))
        return cameras[-1]

    yield create
    for each in cameras:
        each.close()


def rays(cameras, model, data, name):
    """Label and depth per pixel by casting rays through the intrinsics, without any OpenGL."""
    stream = TABLE[name]
    fx, fy, cx, cy = cameras.intrinsics(name)
    v, u = np.mgrid[: stream.height, : stream.width]
    optical = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones_like(u, float)], -1).reshape(-1, 3)
    camera = data.camera(f"{stream.view or 'top'}_camera")
    # An optical frame has y down and z forward; MuJoCo's camera has y up and looks along -z.
    directions = (optical * [1, -1, -1]) @ camera.xmat.reshape(3, 3).T
    lengths = np.linalg.norm(optical, axis=1)
    directions /= lengths[:, None]
    labels, depths = [], []
    geom = np.zeros(1, np.int32)
    for direction, length in zip(directions, lengths, strict=True):
        distance = mujoco.mj_ray(model, data, camera.xpos, direction, None, 1, -1, geom)
        labels.append(label_of_geom(model, int(geom[0])))
        depths.append(distance / length if distance >= 0 else np.nan)
    shape = stream.height, stream.width
    return np.array(labels, np.uint8).reshape(shape), np.array(depths).reshape(shape)


def interior(labels):
    """Pixels whose neighbours all have their label: no edge of a geom runs through them."""
    same = np.ones_like(labels, bool)
    for axis in (0, 1):
        for shift in (-1, 1):
            same &= np.roll(labels, shift, axis) == labels
    same[[0, -1]] = same[:, [0, -1]] = False
    return same


def test_frames_follow_the_conventions(scene, open_cameras):
    model, data = scene
    frames = open_cameras(model).render(data, TABLE.names, 0.0)
    assert list(frames) == list(TABLE.names)
    for stream in TABLE:
        frame = frames[stream.name]
        kind = {"rgb": np.uint8, "segmentation": np.uint8}.get(stream.kind, np.float32)
        assert frame.dtype == kind
        channels = (3,) if stream.kind == "rgb" else ()
        assert frame.shape == (stream.height, stream.width, *channels)


def test_live_still_scene_is_never_bit_identical(scene, open_cameras):
    model, data = scene
    cameras = open_cameras(model)
    measured = [stream.name for stream in TABLE if stream.kind != "segmentation"]
    shots = [cameras.render(data, measured, 0.0) for _ in range(4)]
    for name in measured:
        assert len({shot[name].tobytes() for shot in shots}) == len(shots), name


def test_dark_scene_is_noisy_too(scene, open_cameras):
    model, data = scene
    model.vis.headlight.active = 0
    model.light_active[:] = 0
    cameras = open_cameras(model)
    first, second = (cameras.render(data, ["rgb"], 0.0)["rgb"] for _ in range(2))
    assert (first != second).any()


@pytest.mark.parametrize("view", ["", "wrist/"])
def test_labels_and_depth_agree_with_rays(scene, open_cameras, view):
    model, data = scene
    cameras = open_cameras(model)
    frames = cameras.render(data, [f"{view}depth", f"{view}segmentation"], 0.0)
    labels, depth = frames[f"{view}segmentation"], frames[f"{view}depth"]
    true_labels, true_depth = rays(cameras, model, data, f"{view}segmentation")
    inside = interior(true_labels)
    assert inside.mean() > 0.7
    assert (labels == true_labels)[inside].all()

    flat = inside & (np.abs(np.gradient(true_depth)).max(0) < 0.005) & ~np.isnan(depth)
    error = (depth - true_depth)[flat] / depth_noise_m(true_depth[flat])
    assert flat.mean() > 0.3
    # Of 9 000 normal values none lies beyond 6 standard deviations.
    assert np.abs(error).max() < 6
    assert np.std(error) == pytest.approx(1.0, abs=0.1)


def test_depth_noise_grows_with_distance():
    sensor = DepthSensor(np.random.default_rng(0), 96, 96)
    spread = [
        np.nanstd(sensor.expose(np.full((200, 200), depth_m, np.float32), 0.0))
        for depth_m in (0.3, 0.6, 1.2)
    ]
    assert spread[2] - spread[1] == pytest.approx(4 * (spread[1] - spread[0]), rel=0.15)


def test_returns_are_missing_at_edges_and_beyond_range():
    depth = np.full((60, 60), 0.5, np.float32)
    depth[20:40, 20:40] = 0.4
    depth[:, 50:] = MAX_RANGE_M + 0.1
    missing = np.isnan(DepthSensor(np.random.default_rng(0), 96, 96).expose(depth, 0.0))
    ring = np.zeros_like(missing)
    ring[19:41, 19:41] = True
    ring[20:40, 20:40] = False
    assert missing[:, 50:].all()
    assert missing[ring].mean() > 0.4
    assert missing[21:39, 21:39].mean() < 0.02
    assert missing[:18, :48].mean() < 0.02


def test_thermal_sees_temperatures(scene, open_cameras):
    model, data = scene
    frames = open_cameras(model).render(data, ["thermal", "segmentation"], 0.0)
    labels = frames["segmentation"]
    inside = interior(labels)
    for name in OBJECTS:
        temperature = model.geom(name).user[1]
        pixels = frames["thermal"][inside & (labels == LABELS.index(OBJECTS[name]))]
        # Emissivity pulls towards the room and the lens blurs small objects.
        assert np.median(pixels) == pytest.approx(temperature, abs=4.0)


def test_thermal_is_independent_of_light(open_cameras):
    lit, data = load_scene()
    dark, _ = load_scene()
    dark.vis.headlight.active = 0
    dark.light_active[:] = 0
    dark.mat_rgba[:, :3] = 0.0
    names = ["rgb", "thermal"]
    bright = open_cameras(lit).render(data, names, 3.0)
    black = open_cameras(dark).render(data, names, 3.0)
    assert black["rgb"].mean() < 0.5 * bright["rgb"].mean()
    assert np.array_equal(bright["thermal"], black["thermal"])


def test_thermal_drifts_slowly(scene, open_cameras):
    model, data = scene
    cameras = open_cameras(model)
    mean = [cameras.render(data, ["thermal"], t)["thermal"].mean() for t in np.arange(0, 120, 2.0)]
    assert np.ptp(mean) > 0.2
    assert np.abs(np.diff(mean)).max() < 0.1


@pytest.mark.parametrize("name", TABLE.names[:4])
def test_each_stream_alone_tells_the_objects_apart(scene, open_cameras, name):
    model, data = scene
    cameras = open_cameras(model)
    labels = cameras.render(data, ["segmentation"], 0.0)["segmentation"]
    frame = cameras.render(data, [name], 0.0)[name].astype(float)
    if TABLE[name].kind == "depth":
        # What tells them apart in depth is their height above the table.
        height = []
        for body in OBJECTS:
            mask = labels == LABELS.index(OBJECTS[body])
            camera = data.camera("top_camera")
            fx, fy, cx, cy = cameras.intrinsics(name)
            v, u = np.nonzero(mask & ~np.isnan(frame))
            z = frame[v, u]
            points = np.stack([(u - cx) / fx * z, -(v - cy) / fy * z, -z], -1)
            world = camera.xpos + points @ camera.xmat.reshape(3, 3).T
            height.append(np.percentile(world[:, 2], 90))
        assert height == pytest.approx([0.030, 0.060, 0.018], abs=0.004)
        return
    features = [
        frame[labels == LABELS.index(label)].reshape(-1, *frame.shape[2:]).mean(0)
        for label in (*OBJECTS.values(), "table")
    ]
    # Far further apart than the noise: counts of colour, degrees, or labels.
    threshold = {"rgb": 60.0, "thermal": 8.0, "segmentation": 1.0}[TABLE[name].kind]
    for index, one in enumerate(features):
        for other in features[index + 1 :]:
            assert np.linalg.norm(np.atleast_1d(one - other)) >= threshold


def test_noise_is_seeded_and_independent_per_stream(scene, open_cameras):
    model, data = scene
    alone = open_cameras(model, seed=7).render(data, ["wrist/depth"], 0.0)["wrist/depth"]
    together = open_cameras(model, seed=7).render(data, TABLE.names, 0.0)["wrist/depth"]
    other = open_cameras(model, seed=8).render(data, ["wrist/depth"], 0.0)["wrist/depth"]
    assert np.array_equal(alone, together, equal_nan=True)
    assert not np.array_equal(alone, other, equal_nan=True)


@pytest.mark.parametrize(
    ("names", "passes"),
    [(["rgb"], 1), (["rgb", "depth"], 1), (["thermal", "segmentation"], 1), (TABLE.names, 4)],
)
def test_only_the_passes_needed_are_rendered(scene, open_cameras, monkeypatch, names, passes):
    model, data = scene
    count = []
    render = mujoco.mjr_render
    monkeypatch.setattr(mujoco, "mjr_render", lambda *args: (count.append(1), render(*args)))
    open_cameras(model).render(data, names, 0.0)
    assert len(count) == passes


def test_streams_of_one_view_may_differ_in_size(scene, open_cameras):
    model, data = scene
    table = StreamTable(
        (
            Stream("rgb", "rgb", 720, 960, 15.0, "top_camera_optical_frame"),
            Stream("depth", "depth", 48, 64, 15.0, "top_camera_optical_frame"),
        )
    )
    frames = open_cameras(model, table).render(data, table.names, 0.0)
    assert frames["rgb"].shape == (720, 960, 3)
    assert frames["rgb"][-1].std() > 0
    assert frames["depth"].shape == (48, 64)


def test_unknown_stream_and_missing_camera_are_named(scene, open_cameras):
    model, data = scene
    with pytest.raises(ValueError, match=r"unknown stream 'rbg'; expected one of rgb, depth"):
        open_cameras(model).render(data, ["rbg"], 0.0)
    table = StreamTable((Stream("elbow/rgb", "rgb", 96, 96, 15.0, "elbow_optical_frame"),))
    with pytest.raises(ValueError, match="needs the camera 'elbow_camera'; the scene has top_"):
        Cameras(model, table)


def test_rendering_after_close_and_from_a_second_thread_is_refused(scene, open_cameras):
    model, data = scene
    cameras = open_cameras(model)
    cameras.render(data, ["rgb"], 0.0)
    errors = []

    def render():
        try:
            cameras.render(data, ["rgb"], 0.0)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert "create others for this thread" in errors[0]
    cameras.close()
    cameras.close()
    with pytest.raises(RuntimeError, match="closed"):
        cameras.render(data, ["rgb"], 0.0)


def test_two_cameras_of_one_thread_do_not_disturb_each_other(scene, open_cameras):
    model, data = scene
    first = open_cameras(model)
    expected = first.render(data, ["segmentation"], 0.0)["segmentation"]
    other, its_data = load_scene()
    other.geom_pos[:, 2] -= 5.0
    mujoco.mj_forward(other, its_data)
    second = open_cameras(other)
    second.render(its_data, ["segmentation"], 0.0)
    np.testing.assert_array_equal(
        first.render(data, ["segmentation"], 0.0)["segmentation"], expected
    )
    first.close()
    assert second.render(its_data, ["rgb"], 0.0)["rgb"].any()


def test_missing_library_names_the_packages(scene, monkeypatch):
    def fail(name):
        raise AttributeError("'NoneType' object has no attribute 'eglQueryString'")

    model, _ = scene
    monkeypatch.setattr(offscreen.importlib, "import_module", fail)
    with pytest.raises(RenderingError, match=r"libegl1 libopengl0 libgl1-mesa-dri$"):
        Renderer(model, 96, 96).look(None, 0, 96, 96)
    monkeypatch.setenv("MUJOCO_GL", "metal")
    with pytest.raises(RenderingError, match="MUJOCO_GL is 'metal'; expected egl"):
        Renderer(model, 96, 96).look(None, 0, 96, 96)


@pytest.mark.parametrize("ending", ["", "os.kill(os.getpid(), signal.SIGINT)", "sys.exit(0)"])
def test_ending_while_a_thread_renders_prints_no_traceback_of_opengl(ending):
    program = f"""
import os, signal, sys, threading
import mujoco
from multismolvla.sim.cameras import Cameras
from multismolvla.streams import load_stream_table
model = mujoco.MjModel.from_xml_path({str(SCENE)!r})
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
table = load_stream_table({str(ROOT / "config" / "streams.yaml")!r})
cameras, started = Cameras(model, table), threading.Event()
def render():
    while True:
        cameras.render(data, table.names, 0.0)
        started.set()
threading.Thread(target=render, daemon=True).start()
assert started.wait(30)
try:
    {ending or "pass"}
except KeyboardInterrupt:
    pass
"""
    environment = {key: value for key, value in os.environ.items() if key != "MUJOCO_GL"}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert (result.returncode, result.stderr) == (0, "")
