"""What is refused when a kind of image is described or installed, each in one line."""

import importlib
from dataclasses import replace

import numpy as np
import pytest

from multismolvla.modalities import registry
from multismolvla.modalities.depth import DEPTH
from multismolvla.modalities.modality import UINT8, Counts, ModalityError
from multismolvla.modalities.registry import find_modality, modality_of, register
from multismolvla.modalities.rgb import RGB
from multismolvla.modalities.segmentation import SEGMENTATION
from multismolvla.modalities.thermal import THERMAL


@pytest.mark.parametrize(
    ("modality", "changes", "expected"),
    [
        (RGB, {"name": "RGB-D"}, "name is RGB-D; expected lower-case letters"),
        (RGB, {"channels": 2}, "channels is 2; expected 1 or 3"),
        (THERMAL, {"dtype": np.dtype(np.float64)}, "dtype is float64; expected uint8 or float32"),
        (THERMAL, {"channels": 3}, "dtype is float32; expected uint8"),
        (SEGMENTATION, {"counts": Counts(UINT8, 2.0)}, "expected those of uint8"),
        (THERMAL, {"counts": Counts(np.dtype(np.int32))}, "counts.dtype is int32; expected uint8"),
        (DEPTH, {"counts": replace(DEPTH.counts, scale=0.0)}, "expected a positive number"),
        (DEPTH, {"counts": replace(DEPTH.counts, offset=1.0)}, "no_return is True; expected"),
        (RGB, {"prepare": THERMAL.prepare}, "prepare is (1, 1); expected numbers for each"),
        (RGB, {"damage": THERMAL.damage}, "damage.cover is (33.0,); expected a number for each"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(modality, changes, expected):
    with pytest.raises(ModalityError) as error:
        replace(modality, **changes)
    name = changes.get("name", modality.name)
    assert str(error.value).startswith(f"modality '{name}': ") and expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_stands_for_one_kind():
    assert register(RGB) is RGB
    with pytest.raises(ModalityError, match="'rgb' is already there; choose another name"):
        register(replace(RGB, pixel_step=1.0))
    assert find_modality("rgb") is RGB


def test_an_unknown_kind_is_named_with_the_known_ones():
    for look in (find_modality, modality_of):
        with pytest.raises(ModalityError, match="kind is 'sonar'; expected rgb, depth, thermal, s"):
            look("sonar")
    with pytest.raises(ModalityError, match="stream 'wrist/sonar': kind is 'sonar'"):
        modality_of("wrist/sonar")
    assert modality_of("wrist/depth") is DEPTH


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("no_such_module:X", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("math:pi", "is float; expected a Modality"),
    ],
)
def test_a_broken_entry_point_is_one_line(tmp_path, monkeypatch, target, expected):
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\nsonar = {target}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    registry._load_installed.cache_clear()
    try:
        with pytest.raises(ModalityError) as error:
            registry.kinds()
    finally:
        registry._load_installed.cache_clear()
    assert "entry point 'sonar' of multismolvla.modalities" in str(error.value)
    assert expected in str(error.value) and "\n" not in str(error.value)
    # Those of this package need no entry point.
    assert find_modality("rgb") is RGB
