"""Raw to conditioned frames: units, missing values, sizes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multismolvla.modalities.conversion import condition, resize, to_units
from multismolvla.modalities.depth import DEPTH
from multismolvla.modalities.registry import find_modality
from multismolvla.modalities.rgb import RGB
from multismolvla.modalities.segmentation import SEGMENTATION
from multismolvla.modalities.thermal import THERMAL


def test_depth_counts_become_metres_and_what_drivers_send_for_nothing_becomes_nan():
    depth = to_units(DEPTH, np.array([[0, 1500], [1, 65535]], np.uint16))
    np.testing.assert_allclose(depth, [[np.nan, 1.5], [0.001, np.nan]], rtol=1e-6)
    assert depth.dtype == np.float32


def test_depth_in_metres_keeps_its_values_and_loses_what_is_none():
    raw = np.array([[0.7, -1.0], [np.inf, np.nan]], np.float32)
    np.testing.assert_array_equal(
        to_units(DEPTH, raw), np.array([[0.7, np.nan], [np.nan, np.nan]], np.float32)
    )


@pytest.mark.parametrize("kind", ["depth", "thermal"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_byte_order_changes_nothing(kind, dtype):
    raw = np.full((4, 4), 60, dtype) if dtype == np.float32 else np.full((4, 4), 29500, dtype)
    swapped = raw.astype(raw.dtype.newbyteorder())
    assert not swapped.dtype.isnative
    conditioned = condition(find_modality(kind), swapped, 2, 2)
    assert conditioned.dtype == np.float32 and conditioned.dtype.isnative
    np.testing.assert_array_equal(conditioned, condition(find_modality(kind), raw, 2, 2))


def test_thermal_counts_become_degrees():
    raw = np.array([[29515, 30000]], np.uint16)
    np.testing.assert_allclose(to_units(THERMAL, raw), [[22.0, 26.85]], atol=1e-3)
    own = replace(THERMAL.counts, scale=0.04)
    np.testing.assert_allclose(to_units(THERMAL, raw // 4, own), [[22.0, 26.85]], atol=0.05)


def test_frames_in_units_of_the_right_size_pass_untouched():
    rgb = np.zeros((4, 6, 3), np.uint8)
    assert condition(RGB, rgb, 4, 6) is rgb


def test_shrinking_averages_the_area():
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[:, ::2] = 200
    np.testing.assert_array_equal(condition(RGB, rgb, 2, 2), np.full((2, 2, 3), 100))


def test_missing_depth_does_not_spread_and_does_not_pull_values_towards_zero():
    raw = np.full((4, 4), 1000, np.uint16)
    raw[0, 0] = 0
    raw[2:, 2:] = 0
    raw[3, 3] = 1000
    np.testing.assert_allclose(condition(DEPTH, raw, 2, 2), [[1.0, 1.0], [1.0, np.nan]], rtol=1e-6)


def test_labels_are_never_mixed():
    labels = np.zeros((10, 10), np.uint8)
    labels[:, 5:] = 8
    assert set(np.unique(condition(SEGMENTATION, labels, 7, 7))) == {0, 8}


@pytest.mark.parametrize(
    ("kind", "raw", "said"),
    [
        ("rgb", np.zeros((4, 4), np.uint8), r"rgb frame is \(4, 4\) uint8; expected \(H, W, 3\)"),
        ("rgb", np.zeros((4, 4, 3), np.float32), "expected .* uint8"),
        ("depth", np.zeros((4, 4), np.uint8), "expected .* uint16 or float32"),
        ("depth", np.zeros((0, 4), np.uint16), "at least one pixel"),
        ("thermal", np.zeros((4, 4, 3), np.uint16), r"expected \(H, W\)"),
        ("segmentation", np.full((2, 2), 99, np.uint8), "label 99; expected 0 to"),
        ("sonar", np.zeros((2, 2)), "kind is 'sonar'"),
    ],
)
def test_frames_that_cannot_be_used_are_refused_in_one_line(kind, raw, said):
    with pytest.raises(ValueError, match=said) as caught:
        to_units(find_modality(kind), raw)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.one_of(st.floats(0.25, 8.0, width=32), st.just(np.nan)),
    ),
    st.integers(1, 14),
    st.integers(1, 14),
)
def test_resized_depth_stays_within_the_values_it_came_from(depth, height, width):
    resized = resize(DEPTH, depth, height, width)
    assert resized.shape == (height, width)
    assert resized.dtype == np.float32
    present = resized[np.isfinite(resized)]
    if present.size:
        assert present.min() >= np.nanmin(depth) - 1e-3
        assert present.max() <= np.nanmax(depth) + 1e-3
