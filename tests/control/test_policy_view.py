"""What the policy may know: whole sets, the state of their instant, and no stale truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.control.policy_view import MAX_JOINTS_GAP_NS, MAX_OBJECTS_AGE_NS, PolicyView
from multismolvla.streams import Stream, StreamTable

S = 1_000_000_000
TABLE = StreamTable(
    tuple(Stream(kind, kind, 4, 4, 15.0, "camera_optical_frame") for kind in ("rgb", "depth"))
)
OK = {"rgb": ("OK", ""), "depth": ("OK", "")}


def pictures(values):
    return {name: None if v is None else np.full((4, 4), v) for name, v in values.items()}


def view_at(messages, stamp_ns: int = 10 * S, absent=(), check=None) -> PolicyView:
    view = PolicyView(TABLE, 0.5, check)
    for tick in range(9, 12):
        view.states.add(tick * S, np.full(6, float(tick)))
    view.on_set(stamp_ns, stamp_ns, pictures(messages), dict.fromkeys(absent, "late"))
    return view


@given(late_ns=st.integers(0, S // 2 - 1))
def test_the_state_is_that_of_the_images_however_late_they_are_looked_at(late_ns):
    observation = view_at({"rgb": 1, "depth": 2}).observation(10 * S + late_ns, "t", OK)
    assert observation.stamp_ns == 10 * S
    assert observation.state == pytest.approx(np.full(6, 10.0))
    assert observation.mask == {"rgb": True, "depth": True}


def test_a_stream_is_masked_by_its_status_its_absence_and_an_unreadable_image():
    lost = {**OK, "rgb": ("LOST", "stale")}
    seen = view_at({"rgb": 1, "depth": 2}).observation(10 * S, "t", lost)
    assert seen.mask == {"rgb": False, "depth": True} and seen.frames["rgb"] is None
    late = view_at({"rgb": None, "depth": 2}, absent=["rgb"])
    assert late.mask(10 * S, OK).reasons == {"rgb": "image late", "depth": ""}
    unreadable = view_at({"rgb": None, "depth": 2}).observation(10 * S, "t", OK)
    assert unreadable.mask == {"rgb": False, "depth": True}


def test_an_old_set_counts_for_nothing():
    view = view_at({"rgb": 1, "depth": 2})
    now_ns = 10 * S + S // 2 + 1
    observation = view.observation(now_ns, "t", OK)
    assert not any(observation.mask.values()) and observation.stamp_ns == now_ns
    assert set(view.mask(now_ns, OK).reasons.values()) == {"no image set"}


class AgainstDepth:
    """Refuses depth, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown = []
        self.forgotten = 0

    def judge(self, frames, joints):
        self.shown.append((dict(frames), joints))
        return {"depth": "contradicts the pose"}

    def forget(self) -> None:
        self.forgotten += 1


def test_a_stream_that_contradicts_the_pose_is_masked():
    check = AgainstDepth()
    view = view_at({"rgb": 1, "depth": 2}, check=check)
    assert view.mask(10 * S, OK).reasons == {"rgb": "", "depth": "image contradicts the pose"}
    assert view.observation(10 * S, "t", OK).frames["depth"] is None
    ((frames, joints),) = check.shown
    assert frames["depth"][0, 0] == 2 and joints == pytest.approx(np.full(6, 10.0))


def test_that_an_image_is_late_goes_before_that_it_contradicts():
    view = view_at({"rgb": 1, "depth": None}, absent=["depth"], check=AgainstDepth())
    assert view.mask(10 * S, OK).reasons["depth"] == "image late"


def test_images_wait_for_the_joints_of_their_instant():
    check = AgainstDepth()
    early_ns, late_ns = 11 * S + MAX_JOINTS_GAP_NS, 11 * S + MAX_JOINTS_GAP_NS + 1
    view = view_at({"rgb": 1, "depth": 2}, early_ns, check=check)
    assert len(check.shown) == 1
    view.on_set(late_ns, late_ns, pictures({"rgb": 3, "depth": 4}), {})
    assert len(check.shown) == 1
    # Meanwhile what was found before holds.
    assert not view.mask(late_ns, OK).available["depth"]
    view.states.add(12 * S, np.full(6, 12.0))
    view.on_set(12 * S, 12 * S, pictures({"rgb": 5, "depth": 6}), {})
    assert [frames["rgb"][0, 0] for frames, _ in check.shown] == [1, 3, 5]
    assert check.shown[1][1] == pytest.approx(np.full(6, 11.03), abs=1e-6)


def test_images_whose_joints_never_come_are_passed_over():
    check = AgainstDepth()
    view = view_at({"rgb": 1, "depth": 2}, 12 * S, check=check)
    for stamp_ns in (13 * S, 14 * S, 15 * S):
        view.on_set(stamp_ns, stamp_ns, pictures({"rgb": 3, "depth": 4}), {})
    assert not check.shown and view.mask(15 * S, OK).available["depth"]
    view.states.add(20 * S, np.full(6, 20.0))
    for stamp_ns in (20 * S, 20 * S + 1):
        view.on_set(stamp_ns, stamp_ns, pictures({"rgb": 7, "depth": 8}), {})
    assert {frames["rgb"][0, 0] for frames, _ in check.shown} == {7}


def test_truth_that_has_stopped_is_no_truth():
    view = view_at({"rgb": 1, "depth": 2})
    view.on_objects(10 * S, {"cube": np.zeros(7)})
    fresh, stale = (
        view.observation(10 * S + age, "t", OK).privileged
        for age in (MAX_OBJECTS_AGE_NS, MAX_OBJECTS_AGE_NS + 1)
    )
    assert list(fresh) == ["cube"] and not stale


def test_after_the_clock_was_set_back_nothing_is_known():
    check = AgainstDepth()
    view = view_at({"rgb": 1, "depth": 2}, check=check)
    assert view.seen_since(10 * S) and not view.seen_since(10 * S + 1)
    view.clear()
    assert not view.seen_since(0) and check.forgotten == 1
    with pytest.raises(ValueError, match="no joint_states"):
        view.observation(10 * S, "t", OK)
