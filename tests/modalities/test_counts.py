"""What the numbers of a camera mean: declared, recognised, or refused."""

import numpy as np
import pytest

from multismolvla.modalities.conversion import from_counts, to_counts, to_units
from multismolvla.modalities.depth import DEPTH
from multismolvla.modalities.thermal import THERMAL
from multismolvla.setting import with_values
from multismolvla.streams import StreamTableError, load_stream_table

RNG = np.random.default_rng(0)
STREAM = "height: 4, width: 4, rate_hz: 10.0, frame_id: a_optical_frame"


def scene(low, high, dtype=np.float32):
    return RNG.uniform(low, high, (48, 64)).astype(dtype)


@pytest.mark.parametrize("share", [0.05, 0.25])
def test_depth_that_did_not_come_back_has_no_value(share):
    counts = scene(400, 900, np.uint16)
    lost = RNG.random(counts.shape) < share
    for sentinel in (0, 65535):
        counts[lost] = sentinel
        found = to_units(DEPTH, counts)
        np.testing.assert_array_equal(np.isnan(found), lost)
        assert np.nanmax(found) < 1.0


def test_thermal_counts_of_zero_are_no_absolute_zero():
    counts = scene(29_000, 30_000, np.uint16)
    counts[:, :20] = 0
    found = to_units(THERMAL, counts)
    assert np.isnan(found[:, :20]).all() and np.isfinite(found[:, 20:]).all()


def test_infinities_are_no_temperatures():
    values = scene(20, 30)
    values[0, :2] = np.inf, -np.inf
    assert np.isnan(to_units(THERMAL, values)[0, :2]).all()


def test_other_counts_without_a_value_are_declared_for_a_camera():
    own = with_values(THERMAL.counts, {"no_value": "7 65535", "scale": 0.04})
    counts = np.full((4, 4), 7400, np.uint16)
    counts[0] = 7, 65535, 0, 7400
    found = to_units(THERMAL, counts, own)
    np.testing.assert_array_equal(np.isnan(found[0]), [True, True, False, False])
    none = with_values(DEPTH.counts, {"no_value": "none"})
    assert to_units(DEPTH, np.full((1, 1), 65535, np.uint16), none) == pytest.approx(65.535)


@pytest.mark.parametrize("wrong", ["-1", "x", "70000", [1.5, "a"], None])
def test_no_value_has_to_be_counts(wrong):
    with pytest.raises(ValueError, match=r"no_value is .*; expected counts"):
        with_values(DEPTH.counts, {"no_value": wrong})


@pytest.mark.parametrize("modality", [DEPTH, THERMAL])
def test_what_has_no_value_has_none_when_it_was_stored(modality):
    frame = np.array([[np.nan, 25.0], [1.0, np.nan]], np.float32)
    np.testing.assert_allclose(from_counts(modality, to_counts(modality, frame)), frame, atol=0.01)


@pytest.mark.parametrize(
    ("modality", "values", "guess"),
    [
        (THERMAL, scene(288, 310), "units kelvin. set thermal.units"),
        (DEPTH, scene(300, 900), "units millimetres. set depth.units"),
        (THERMAL, scene(2880, 3100, np.uint16), "scale 0.1. set thermal.scale"),
        (THERMAL, scene(7200, 7750, np.uint16), "scale 0.04. set thermal.scale"),
        (THERMAL, scene(288, 310, np.uint16), "scale 1.0. set thermal.scale"),
    ],
)
def test_units_that_cannot_be_right_are_refused_with_a_guess(modality, values, guess):
    with pytest.raises(ValueError, match=guess) as caught:
        to_units(modality, values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("modality", "setting", "values", "low", "high"),
    [
        (THERMAL, {"units": "kelvin"}, scene(288, 310), 14, 37),
        (DEPTH, {"units": "millimetres"}, scene(300, 900), 0.3, 0.9),
        (THERMAL, {"scale": 0.1}, scene(2880, 3100, np.uint16), 14, 37),
        # An oven, by somebody who has said so.
        (THERMAL, {"units": "celsius"}, scene(288, 310), 288, 310),
        (DEPTH, {"units": "metres"}, scene(300, 900), 300, 900),
    ],
)
def test_units_that_are_declared_are_believed(modality, setting, values, low, high):
    found = to_units(modality, values, with_values(modality.counts, setting))
    assert low - 0.2 <= found.min() <= found.max() <= high + 0.2


@pytest.mark.parametrize(
    ("modality", "values"),
    [
        (THERMAL, scene(15, 40)),
        (THERMAL, scene(-20, 350)),
        (THERMAL, scene(28_000, 31_000, np.uint16)),
        (DEPTH, scene(0.2, 60.0)),
        (DEPTH, np.full((8, 8), np.nan, np.float32)),
    ],
)
def test_what_may_be_right_is_taken(modality, values):
    assert to_units(modality, values).shape == values.shape


def table(tmp_path, camera):
    file = tmp_path / "streams.yaml"
    file.write_text(
        f"streams:\n  - {{name: thermal, kind: thermal, {STREAM}}}\n"
        f"  - {{name: wrist/thermal, kind: thermal, {STREAM}, camera: {camera}}}\n"
    )
    return load_stream_table(file)


def test_a_stream_table_says_what_one_camera_s_numbers_mean(tmp_path):
    found = table(tmp_path, "{units: kelvin, no_value: 0 65535}")
    assert found.counts("thermal") == THERMAL.counts
    own = found.counts("wrist/thermal")
    assert (own.units, own.no_value, own.scale) == ("kelvin", "0 65535", 0.01)
    # No part of a stream, which checkpoints keep.
    assert not hasattr(found["wrist/thermal"], "camera")


@pytest.mark.parametrize(
    ("camera", "complaint"),
    [
        ("{units: fahrenheit}", "camera: units is 'fahrenheit'; expected one of auto, celsius"),
        ("{unit: kelvin}", "camera: unknown key 'unit'; expected 'units'"),
        ("{raw_unit_m: 0.1}", "camera: unknown key 'raw_unit_m'"),
        ("{scale: 0.0}", "camera: scale is 0.0; expected"),
    ],
)
def test_a_camera_that_is_wrong_is_one_line(tmp_path, camera, complaint):
    with pytest.raises(StreamTableError, match=complaint) as caught:
        table(tmp_path, camera)
    assert "\n" not in str(caught.value) and "streams.yaml" in str(caught.value)
