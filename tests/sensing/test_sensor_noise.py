"""LIBERO-plus' corruptions: the formulas, and the same pictures as LIBERO-plus makes."""

from __future__ import annotations

import ast
import ctypes
import importlib.util
import warnings
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest

from multismolvla.faults.conditions import parse_condition
from multismolvla.faults.fault import Delivery
from multismolvla.faults.sensor_noise import GLASS_EXTENT, SENSOR_NOISE, SIZE, _shuffled
from multismolvla.streams import Stream, StreamTable

TABLE = StreamTable((Stream("agentview/rgb", "rgb", 96, 96, 20.0, "agentview_optical_frame"),))
NOISES = tuple(SENSOR_NOISE)


def scene(size: int) -> np.ndarray:
    """Something with edges, colours and gradients."""
    rng = np.random.default_rng(1)
    picture = np.full((size, size, 3), (90, 120, 150), np.uint8)
    picture += (np.arange(size) * 60 // size).astype(np.uint8)[:, None, None]
    for _ in range(12):
        corner, colour = rng.integers(0, size, 2), rng.integers(0, 256, 3)
        extent = rng.integers(size // 16, size // 4, 2)
        cv2.rectangle(picture, corner.tolist(), (corner + extent).tolist(), colour.tolist(), -1)
    return picture


def make(name: str, severity: int, seed: int = 0):
    return SENSOR_NOISE[name].at_severity("rgb", severity, seed)


def change(name: str, severity: int, frame: np.ndarray) -> float:
    return float(np.abs(make(name, severity).corrupt(frame).astype(int) - frame).mean())


@pytest.mark.parametrize("name", NOISES)
def test_a_frame_is_damaged_the_same_way_by_the_same_seed_and_more_by_more(name):
    frame = scene(96)
    before = frame.copy()
    damaged = make(name, 4).corrupt(frame)
    assert damaged.shape == frame.shape and damaged.dtype == np.uint8
    assert (frame == before).all() and (make(name, 4).corrupt(frame) == damaged).all()
    assert change(name, 1, frame) < change(name, 5, frame) < change(name, 10, frame)
    assert change(name, 1, frame) > 0.3


def test_a_condition_damages_agentview_s_colours_at_ten_severities():
    condition = parse_condition("plus_glass_blur-10:agentview/rgb", TABLE)
    (timed,) = condition.faults(TABLE, 0, 0.0).values()
    assert timed.fault == make("plus_glass_blur", 10, timed.fault.seed)
    (sent,) = timed.apply(Delivery(scene(96), 5, 5))
    assert sent.stamp_ns == 5 and (sent.frame != scene(96)).any()
    for text, part in (
        ("plus_fog-11:agentview/rgb", "severity is '11'; expected 1 to 10"),
        ("plus_fog-0:agentview/rgb", "severity is '0'; expected 1 to 10"),
        ("plus_rain-1:agentview/rgb", "unknown fault 'plus_rain'"),
    ):
        with pytest.raises(ValueError, match=part):
            parse_condition(text, TABLE)
    with pytest.raises(ValueError, match="severity is 11; expected 1 to 10"):
        make("plus_fog", 11)


def test_the_damage_is_done_where_libero_plus_does_it():
    """At 256 px and upside down, the frame brought there and back."""
    fault = make("plus_gaussian_blur", 3)
    seen = []
    fault.damage = lambda picture: seen.append(picture) or picture
    frame = scene(SIZE)
    back = fault.corrupt(frame)
    assert (seen[0] == frame[::-1, ::-1]).all() and (back == frame).all()
    small = scene(96)
    back = fault.corrupt(small)
    assert seen[1].shape == (SIZE, SIZE, 3)
    # What the way there and back costs is little against the mildest blur.
    assert np.abs(back.astype(int) - small).mean() < change("plus_gaussian_blur", 1, small)


def point() -> np.ndarray:
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[128, 128] = 255
    return picture


def test_gaussian_blur_is_a_gaussian():
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[:, 128] = 255
    profile = make("plus_gaussian_blur", 2).damage(picture)[100, :, 0].astype(float)
    distance = np.arange(SIZE) - 128
    expected = 255.0 * np.exp(-(distance**2) / 8.0) / np.sqrt(2.0 * np.pi) / 2.0
    assert np.abs(profile - expected).max() < 1.5


def test_motion_blur_smears_to_one_side_within_45_degrees():
    for seed in range(5):
        rows, columns = np.nonzero(make("plus_motion_blur", 1, seed).damage(point())[..., 0])
        # A pixel takes what lies to its right, so a point is smeared to the left.
        assert (columns <= 128).all() and len(set(columns)) >= 3
        assert (np.abs(rows - 128) <= 128 - columns).all()


def test_zoom_blur_keeps_the_middle_and_a_picture_without_structure():
    flat = np.full((SIZE, SIZE, 3), 77, np.uint8)
    assert np.abs(make("plus_zoom_blur", 10).damage(flat).astype(int) - 77).max() <= 1
    cross = np.zeros((SIZE, SIZE, 3), np.uint8)
    cross[120:136, 120:136] = 200
    blurred = make("plus_zoom_blur", 5).damage(cross)[..., 0]
    assert blurred[126:130, 126:130].min() >= 198 and blurred[:100].max() == 0


@pytest.mark.parametrize("severity", [1, 5, 10])
def test_fog_adds_light_and_takes_contrast(severity):
    picture = np.full((SIZE, SIZE, 3), 102, np.uint8)
    density = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)[severity - 1]
    foggy = make("plus_fog", severity).damage(picture)
    share = 0.4 / (0.4 + density)
    # The cloud goes from 0 to 1.
    assert abs(foggy.min() - 255 * 0.4 * share) <= 1
    assert abs(foggy.max() - 255 * min(1.0, (0.4 + density) * share)) <= 1
    assert (foggy[..., 0] == foggy[..., 2]).all()


@pytest.mark.parametrize("reach", [1, 4])
def test_glass_blur_moves_values_as_one_pixel_after_the_other_would(reach):
    taken = _shuffled(reach, np.random.default_rng(3)).reshape(SIZE, SIZE)
    draws = np.random.default_rng(3).integers(
        -reach, reach, ((GLASS_EXTENT - 2 * reach) ** 2, 2)
    )  # fmt: skip
    line = range(GLASS_EXTENT - reach, reach, -1)
    expected = np.arange(SIZE * SIZE).reshape(SIZE, SIZE)
    step = 0
    for row in line:
        for column in line:
            across, down = draws[step]
            expected[row, column] = expected[row + down, column + across]
            step += 1
    assert step == len(draws) and (taken == expected).all()


class Legacy:
    """numpy's generator of old, which LIBERO-plus draws from, as a new one."""

    def __init__(self, seed: int) -> None:
        self._drawn = np.random.RandomState(seed)
        self.uniform = self._drawn.uniform

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
        return self._drawn.randint(low, high, shape)


def theirs() -> dict:
    """The functions of LIBERO-plus; its module would import a simulator too."""
    if importlib.util.find_spec("liberoplus") is None:
        pytest.skip("the wheel of LIBERO-plus is not installed")
    zoom = pytest.importorskip("scipy.ndimage").zoom
    gaussian = pytest.importorskip("skimage.filters").gaussian
    names = {"np": np, "cv2": cv2, "ctypes": ctypes, "BytesIO": BytesIO}
    names |= {"scizoom": zoom, "gaussian": gaussian}
    (folder,) = importlib.util.find_spec("liberoplus").submodule_search_locations
    file = Path(folder, "liberoplus", "envs", "env_wrapper.py")
    functions = [n for n in ast.parse(file.read_text()).body if isinstance(n, ast.FunctionDef)]
    exec(compile(ast.Module(functions, []), str(file), "exec"), names)
    return names


@pytest.mark.parametrize("severity", [1, 6, 10])
@pytest.mark.parametrize("name", [name for name in NOISES if name != "plus_motion_blur"])
def test_the_picture_is_that_of_libero_plus(name, severity, monkeypatch):
    names = theirs()
    monkeypatch.setattr(np, "float_", np.float64, raising=False)
    picture, fault = scene(SIZE), make(name, severity)
    fault._rng = Legacy(severity)
    np.random.seed(severity)
    expected = np.uint8(names[name.removeprefix("plus_")](picture, severity=severity))
    # A last digit decides where a fraction is cut off, in glass blur twice.
    assert np.abs(fault.damage(picture).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("severity", [1, 6, 10])
def test_motion_blur_is_that_of_imagemagick(severity):
    image = pytest.importorskip("PIL.Image")
    names = theirs()
    try:
        wand, library = pytest.importorskip("wand.image"), pytest.importorskip("wand.api").library
    except ImportError:
        pytest.skip("ImageMagick is not installed")
    library.MagickMotionBlurImage.argtypes = (ctypes.c_void_p, *[ctypes.c_double] * 3)

    class MotionImage(wand.Image):
        def motion_blur(self, radius, sigma, angle):
            library.MagickMotionBlurImage(self.wand, radius, sigma, angle)

    picture, fault = scene(SIZE), make("plus_motion_blur", severity)
    fault._rng = Legacy(severity)
    np.random.seed(severity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names["MotionImage"] = MotionImage
        expected = names["motion_blur"](image.fromarray(picture), severity=severity)
    assert np.abs(fault.damage(picture).astype(int) - expected).max() <= 1
