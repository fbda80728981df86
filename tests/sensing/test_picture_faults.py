"""Faults of pictures that training does not use: what each promises on every kind it befalls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.faults.fault import (
    JOINT_STATES,
    SEVERITIES,
    Delivery,
    FrameFault,
    PictureFault,
)
from multismolvla.faults.image_faults import (
    DepthScale,
    Exposure,
    Glare,
    NanDepth,
    ShiftedView,
    Smoke,
    ThermalDrift,
)
from multismolvla.faults.registry import FAULTS, make_fault
from multismolvla.modalities.segmentation import LABELS
from multismolvla.sensing.health import State, StreamHealth

SECOND_NS = 1_000_000_000
CASES = [
    (fault, kind)
    for fault in FAULTS.values()
    if issubclass(fault, PictureFault) and not issubclass(fault, FrameFault)
    for kind in fault.kinds()
]


def picture(kind: str, seed: int = 0) -> np.ndarray:
    """Blocks of 40 by 60 pixels with the noise of a live sensor."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(np.arange(6).reshape(2, 3), np.ones((20, 20)))
    noise = rng.standard_normal((40, 60))
    if kind == "rgb":
        return np.repeat((60.0 + 30.0 * blocks + noise)[..., None], 3, axis=2).astype(np.uint8)
    if kind == "segmentation":
        return blocks.astype(np.uint8)
    scale, noise_scale = {"depth": (0.1, 0.001), "thermal": (4.0, 0.05)}[kind]
    return (0.3 + scale * blocks + noise_scale * noise).astype(np.float32)


def after(fault, frame: np.ndarray, since_s: float) -> np.ndarray:
    """What becomes of a frame when the fault has lasted for a while."""
    fault.apply(Delivery(frame, SECOND_NS, SECOND_NS))
    stamp_ns = SECOND_NS + round(since_s * 1e9)
    return fault.apply(Delivery(frame, stamp_ns, stamp_ns))[0].frame


@pytest.mark.parametrize(("fault", "kind"), CASES, ids=lambda v: getattr(v, "name", v))
def test_a_damaged_picture_is_a_picture_of_the_same_kind(fault, kind):
    frame = picture(kind)
    before = frame.copy()
    for severity in SEVERITIES:
        damaged, again = (
            after(fault.at_severity(kind, severity, seed=7), frame, 0.5) for _ in range(2)
        )
        assert damaged.shape == frame.shape and damaged.dtype == frame.dtype
        np.testing.assert_array_equal(damaged, again)
        np.testing.assert_array_equal(frame, before)
        assert not np.array_equal(damaged, frame, equal_nan=kind in ("depth", "thermal"))
        if kind == "segmentation":
            assert damaged.max() < len(LABELS)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [case for case in CASES if case[0].has_severity()],
    ids=lambda v: getattr(v, "name", v),
)
def test_a_higher_severity_does_more_damage(fault, kind):
    frame = picture(kind)

    def damage(severity: int) -> float:
        damaged = after(fault.at_severity(kind, severity, seed=3), frame, 0.5)
        # A hole counts as a metre.
        return float(np.abs(np.nan_to_num(damaged.astype(float), nan=1.0) - frame).mean())

    measured = [damage(severity) for severity in SEVERITIES]
    assert 0.0 < measured[0] < measured[2] < measured[4]


@pytest.mark.parametrize("kind", ["rgb", "depth", "thermal"])
@pytest.mark.parametrize("name", ["black", "white", "constant"])
def test_the_detector_sees_pictures_without_content_at_once(name, kind):
    health = StreamHealth(kind, 15.0)
    for i in range(1, 20):
        health.on_frame(picture(kind, i), i * SECOND_NS // 15, i * SECOND_NS // 15)
    assert health.state is State.OK
    damaged = make_fault(name, kind).corrupt(picture(kind))
    health.on_frame(damaged, 20 * SECOND_NS // 15, 20 * SECOND_NS // 15)
    assert health.state is State.LOST and set(health.reasons) <= {"blank", "invalid"}


@given(share=st.floats(0.0, 1.0), seed=st.integers(0, 99))
def test_holes_take_the_share_they_are_given_and_nothing_else(share, seed):
    frame = picture("depth")
    holed = NanDepth("depth", seed, share=share).corrupt(frame)
    assert abs(np.isnan(holed).mean() - share) < 0.01
    np.testing.assert_array_equal(holed[~np.isnan(holed)], frame[~np.isnan(holed)])


@given(factor=st.floats(0.1, 10.0))
def test_scaled_depth_keeps_its_holes(factor):
    frame = picture("depth")
    frame[0, :5] = np.nan
    scaled = DepthScale("depth", factor=factor).corrupt(frame)
    np.testing.assert_allclose(scaled, frame * factor, rtol=1e-6)


def test_temperatures_drift_until_they_do_not():
    frame = picture("thermal")
    fault = ThermalDrift("thermal", rate=-2.0, limit=5.0)
    np.testing.assert_allclose(after(fault, frame, 1.5), frame - 3.0, atol=1e-4)
    np.testing.assert_allclose(after(fault, frame, 60.0), frame - 5.0, atol=1e-4)


def test_exposure_goes_both_ways_and_glare_whitens_its_share():
    frame = picture("rgb")
    assert Exposure("rgb", stops=-2.0).corrupt(frame).mean() < frame.mean()
    assert Exposure("rgb", stops=2.0).corrupt(frame).mean() > frame.mean()
    white = (Glare("rgb", share=0.1).corrupt(np.zeros_like(frame)) == 255).all(axis=2)
    assert abs(white.mean() - 0.1) < 0.03


def test_smoke_drifts_and_a_shifted_view_moves_by_its_share():
    frame = picture("rgb")
    assert (after(Smoke("rgb"), frame, 0.2) != after(Smoke("rgb"), frame, 1.2)).any()
    labels = np.zeros((40, 60), np.uint8)
    labels[20, 30] = 1
    moved = ShiftedView("segmentation", seed=5, shift=0.2, turn=0.0).corrupt(labels)
    assert np.hypot(*(np.argwhere(moved)[0] - (20, 30))) == pytest.approx(12.0, abs=1.0)
    depth = ShiftedView("depth", seed=5, shift=0.2, turn=0.0).corrupt(picture("depth"))
    assert 0.1 < np.isnan(depth).mean() < 0.45


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: make_fault("glare", "depth"), "glare: kind is 'depth'; expected rgb"),
        (lambda: make_fault("black", JOINT_STATES), "black: kind is 'joint_states'; expected rgb,"),
        (
            lambda: make_fault("glare", "rgb", parameters={"size": 1}),
            "glare: unknown parameter 'siz",
        ),
        (
            lambda: make_fault("drop", "rgb", parameters={"a": 1}),
            "drop: unknown parameter 'a'; exp",
        ),
        (
            lambda: make_fault("glare", "rgb", parameters={"share": "x"}),
            "glare: share is 'x'; expec",
        ),
        (
            lambda: make_fault("glare", "rgb", parameters={"share": 2}),
            "glare: share is 2; expected",
        ),
        (lambda: make_fault("glare", "rgb", severity=9), "glare: severity is 9; expected 1 to 5"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(make, expected):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value).startswith(expected) and "\n" not in str(caught.value)


def test_parameters_take_precedence_over_those_of_the_severity():
    fault = make_fault("shifted_view", "rgb", severity=5, parameters={"turn": 0.0})
    assert (fault.shift, fault.turn) == (0.25, 0.0)
