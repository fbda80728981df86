"""What the policy may know: whole sets, the state of their instant, and no stale truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.control.policy_view import MAX_OBJECTS_AGE_NS, PolicyView
from multismolvla.streams import Stream, StreamTable

S = 1_000_000_000
TABLE = StreamTable(
    tuple(Stream(kind, kind, 4, 4, 15.0, "camera_optical_frame") for kind in ("rgb", "depth"))
)
OK = {"rgb": ("OK", ""), "depth": ("OK", "")}


def frame_of(stream, message):
    return None if message == "unreadable" else np.full((4, 4), message)


def view_at(messages, stamp_ns: int = 10 * S, absent=()) -> PolicyView:
    view = PolicyView(TABLE, max_set_age_s=0.5)
    for tick in range(9, 12):
        view.states.add(tick * S, np.full(6, float(tick)))
    view.on_set(stamp_ns, stamp_ns, messages, dict.fromkeys(absent, "late"))
    return view


@given(late_ns=st.integers(0, S // 2 - 1))
def test_the_state_is_that_of_the_images_however_late_they_are_looked_at(late_ns):
    observation = view_at({"rgb": 1, "depth": 2}).observation(10 * S + late_ns, "t", OK, frame_of)
    assert observation.stamp_ns == 10 * S
    assert observation.state == pytest.approx(np.full(6, 10.0))
    assert observation.mask == {"rgb": True, "depth": True}


def test_a_stream_is_masked_by_its_status_its_absence_and_an_unreadable_image():
    lost = {**OK, "rgb": ("LOST", "stale")}
    seen = view_at({"rgb": 1, "depth": 2}).observation(10 * S, "t", lost, frame_of)
    assert seen.mask == {"rgb": False, "depth": True} and seen.frames["rgb"] is None
    late = view_at({"rgb": None, "depth": 2}, absent=["rgb"])
    assert late.mask(10 * S, OK).reasons == {"rgb": "image late", "depth": ""}
    unreadable = view_at({"rgb": "unreadable", "depth": 2}).observation(10 * S, "t", OK, frame_of)
    assert unreadable.mask == {"rgb": False, "depth": True}


def test_an_old_set_counts_for_nothing():
    view = view_at({"rgb": 1, "depth": 2})
    now_ns = 10 * S + S // 2 + 1
    observation = view.observation(now_ns, "t", OK, frame_of)
    assert not any(observation.mask.values()) and observation.stamp_ns == now_ns
    assert set(view.mask(now_ns, OK).reasons.values()) == {"no image set"}


def test_truth_that_has_stopped_is_no_truth():
    view = view_at({"rgb": 1, "depth": 2})
    view.on_objects(10 * S, {"cube": np.zeros(7)})
    fresh, stale = (
        view.observation(10 * S + age, "t", OK, frame_of).privileged
        for age in (MAX_OBJECTS_AGE_NS, MAX_OBJECTS_AGE_NS + 1)
    )
    assert list(fresh) == ["cube"] and not stale


def test_after_the_clock_was_set_back_nothing_is_known():
    view = view_at({"rgb": 1, "depth": 2})
    assert view.seen_since(10 * S) and not view.seen_since(10 * S + 1)
    view.clear()
    assert not view.seen_since(0)
    with pytest.raises(ValueError, match="no joint_states"):
        view.observation(10 * S, "t", OK, frame_of)
