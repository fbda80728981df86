"""Stored counts and SI units: lossless where it can be, and the sensor nodes' own conversion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from multismolvla.modalities.conversion import from_counts, to_counts, to_units
from multismolvla.modalities.depth import DEPTH
from multismolvla.modalities.registry import find_modality, modality_of
from multismolvla.modalities.rgb import RGB
from multismolvla.modalities.segmentation import SEGMENTATION
from multismolvla.modalities.thermal import THERMAL

# Without the greatest, which depth cameras have for no value, and without what would be
# temperatures of another unit.
SOME = st.one_of(st.just(0), st.integers(9000, 65534))
COUNTS = arrays.arrays(np.uint16, (2, 3), elements=SOME)


@given(COUNTS)
@pytest.mark.parametrize("kind", ["depth", "thermal"])
def test_every_count_survives_the_way_there_and_back(kind, counts):
    modality = find_modality(kind)
    np.testing.assert_array_equal(to_counts(modality, from_counts(modality, counts)), counts)


@given(COUNTS)
@pytest.mark.parametrize("kind", ["depth", "thermal"])
def test_a_stored_frame_means_what_it_means_to_the_sensor_node(kind, counts):
    live = to_units(find_modality(kind), counts)
    ours = from_counts(find_modality(kind), counts)
    assert ours.dtype == live.dtype == np.float32
    np.testing.assert_array_equal(ours, live)


@given(arrays.arrays(np.float32, (4,), elements=st.floats(0.0078125, 65.0, width=32)))
def test_depth_is_kept_to_half_a_millimetre(depth_m):
    assert np.abs(from_counts(DEPTH, to_counts(DEPTH, depth_m)) - depth_m).max() < 0.000505


@given(arrays.arrays(np.float32, (4,), elements=st.floats(-200.0, 300.0, width=32)))
def test_temperature_is_kept_to_half_a_centikelvin(celsius):
    assert np.abs(from_counts(THERMAL, to_counts(THERMAL, celsius)) - celsius).max() < 0.0051


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, 0.0, 66.0])
def test_what_is_no_depth_is_no_return(value):
    counts = to_counts(DEPTH, np.array([[value]], np.float32))
    assert counts.dtype == np.uint16 and counts[0, 0] == 0
    assert np.isnan(from_counts(DEPTH, counts)[0, 0])


def test_colours_and_labels_stay_as_they_are():
    frame = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert to_counts(RGB, frame) is frame and from_counts(SEGMENTATION, frame) is frame
    assert modality_of("wrist/thermal").counts.dtype == np.uint16


def test_a_stream_of_no_known_kind_is_refused():
    with pytest.raises(ValueError, match="wrist/sonar"):
        modality_of("wrist/sonar")
