"""Which observations are worth an inference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.control.inference import ObservationFilter
from multismolvla.interfaces import Observation

FRAMES = {
    "rgb": np.full((96, 96, 3), 100, np.uint8),
    "wrist/depth": np.full((96, 96), 0.5, np.float32),
    "thermal": np.full((96, 96), 22.0, np.float32),
    "segmentation": np.zeros((96, 96), np.uint8),
}


def observation(**changes) -> Observation:
    values = {
        "stamp_ns": 0,
        "frames": FRAMES,
        "mask": dict.fromkeys(FRAMES, True),
        "state": np.zeros(6),
        "task": "pick",
    }
    return Observation(**{**values, **changes})


@pytest.fixture
def seen():
    observation_filter = ObservationFilter(0.02)
    observation_filter.processed(observation())
    return observation_filter


def with_frame(name: str, value) -> dict:
    frame = FRAMES[name].copy()
    frame[40:60, 40:60] = value
    return {**FRAMES, name: frame}


def test_the_same_again_is_left_out(seen):
    assert not seen.is_new(observation(stamp_ns=5), must_go=False)


def test_must_go_passes_everything(seen):
    assert seen.is_new(observation(), must_go=True)


def test_the_tolerance_is_in_radians(seen):
    assert not seen.is_new(observation(state=np.full(6, 0.019)), must_go=False)
    assert seen.is_new(observation(state=np.array([0, 0, 0, 0, 0, 0.021])), must_go=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("rgb", (220, 30, 30)), ("wrist/depth", 0.45), ("thermal", 30.0), ("segmentation", 6)],
)
def test_a_still_robot_sees_what_changes_in_any_stream(seen, name, value):
    assert seen.is_new(observation(frames=with_frame(name, value)), must_go=False)


def test_camera_noise_is_no_change(seen):
    noise = np.random.default_rng(0).normal(0, 5, FRAMES["rgb"].shape)
    frames = {**FRAMES, "rgb": (FRAMES["rgb"] + noise).astype(np.uint8)}
    assert not seen.is_new(observation(frames=frames), must_go=False)


def test_missing_depth_returns_are_no_change(seen):
    assert not seen.is_new(observation(frames=with_frame("wrist/depth", np.nan)), must_go=False)


def test_a_masked_frame_cannot_count_as_a_change():
    mask = {**dict.fromkeys(FRAMES, True), "rgb": False}
    observation_filter = ObservationFilter(0.02)
    observation_filter.processed(observation(mask=mask))
    changed = observation(mask=mask, frames=with_frame("rgb", 0))
    assert not observation_filter.is_new(changed, must_go=False)


def test_a_changed_mask_or_task_is_new(seen):
    lost = {**dict.fromkeys(FRAMES, True), "thermal": False}
    assert seen.is_new(observation(mask=lost), must_go=False)
    assert seen.is_new(observation(task="place"), must_go=False)


def test_only_a_processed_observation_is_remembered():
    observation_filter = ObservationFilter(0.02)
    assert observation_filter.is_new(observation(), must_go=False)
    assert observation_filter.is_new(observation(), must_go=False)


def test_reset_forgets(seen):
    seen.reset()
    assert seen.is_new(observation(), must_go=False)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5) | st.just(float("nan")), min_size=6, max_size=6))
def test_new_exactly_when_a_joint_moved_by_the_tolerance(offsets):
    observation_filter = ObservationFilter(0.1)
    observation_filter.processed(observation())
    same = all(abs(offset) < 0.1 for offset in offsets)
    moved = observation(state=np.array(offsets))
    assert observation_filter.is_new(moved, must_go=False) == (not same)
