"""Availability needs both a good status in time and an image."""

import pytest

from multismolvla.control.policy_view import stream_mask

NAMES = ("rgb", "depth")
GOOD = {"rgb": ("OK", ""), "depth": ("DEGRADED", "slow")}


def mask_of(statuses=GOOD, absent=None, age_s=0.05):
    return stream_mask(NAMES, statuses, absent or {}, age_s, 0.5)


def test_ok_and_degraded_streams_are_available():
    assert mask_of().available == {"rgb": True, "depth": True}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"statuses": {**GOOD, "depth": ("LOST", "frozen")}}, "frozen"),
        ({"statuses": {"rgb": ("OK", "")}}, "no status"),
        ({"absent": {"depth": "late"}}, "image late"),
    ],
)
def test_each_cause_masks_its_stream_alone(changes, reason):
    mask = mask_of(**changes)
    assert mask.available == {"rgb": True, "depth": False}
    assert mask.reasons == {"rgb": "", "depth": reason}


@pytest.mark.parametrize("age_s", [None, 0.51])
def test_without_a_fresh_set_nothing_is_available(age_s):
    assert mask_of(age_s=age_s).available == {"rgb": False, "depth": False}


def test_losses_are_told_apart_from_recoveries():
    good, bad = mask_of(), mask_of(absent={"depth": "late"})
    assert bad.lost_since(good) == ["depth"]
    assert good.lost_since(bad) == []
