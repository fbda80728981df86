"""Faults: what each promises, that it is seeded, and what the detector makes of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.faults.delivery_queue import DeliveryQueue, FaultSchedule
from multismolvla.faults.fault import SEVERITIES, Delivery, FrameFault, TimedFault
from multismolvla.faults.image_faults import GaussianNoise, Occlusion
from multismolvla.faults.message_faults import (
    Delay,
    Drop,
    Frozen,
    Jitter,
    Late,
    LowRate,
)
from multismolvla.faults.registry import FAULTS, find_fault
from multismolvla.modalities.registry import kinds
from multismolvla.modalities.segmentation import LABELS
from multismolvla.sensing.health import State, StreamHealth

PERIOD_NS = 66_666_667
FRAME_FAULTS = [fault for fault in FAULTS.values() if issubclass(fault, FrameFault)]


def picture(kind: str, seed: int = 0, size: int = 96) -> np.ndarray:
    """A scene of a few blocks with the noise of a live sensor."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(np.arange(16).reshape(4, 4) % 5, np.ones((size // 4, size // 4)))
    noise = rng.standard_normal((size, size))
    if kind == "rgb":
        grey = 40.0 + 40.0 * blocks + 1.5 * noise
        return np.repeat(grey[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)
    if kind == "depth":
        depth = (0.3 + 0.05 * blocks + 0.001 * noise).astype(np.float32)
        depth[:2, :3] = np.nan
        return depth
    if kind == "thermal":
        return (20.0 + 4.0 * blocks + 0.05 * noise).astype(np.float32)
    return (blocks % len(LABELS)).astype(np.uint8)


def stream(kind: str, count: int) -> list[Delivery]:
    """Frames of a live camera at 15 Hz, each 5 ms on its way."""
    return [
        Delivery(picture(kind, seed=i), i * PERIOD_NS, i * PERIOD_NS + 5_000_000)
        for i in range(count)
    ]


def run(fault, deliveries: list[Delivery]) -> list[Delivery]:
    return [out for delivery in deliveries for out in fault.apply(delivery)]


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("fault", FRAME_FAULTS, ids=lambda fault: fault.name)
@given(severity=st.sampled_from(SEVERITIES), seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_a_damaged_frame_is_a_frame_of_the_same_kind(fault, kind, severity, seed):
    frame = picture(kind)
    before = frame.copy()
    damaged = fault.at_severity(kind, severity, seed).corrupt(frame)
    again = fault.at_severity(kind, severity, seed).corrupt(frame)
    assert damaged.shape == frame.shape and damaged.dtype == frame.dtype
    np.testing.assert_array_equal(frame, before)
    np.testing.assert_array_equal(damaged, again)
    if kind == "segmentation":
        assert damaged.max() < len(LABELS)


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("fault", FRAME_FAULTS, ids=lambda fault: fault.name)
def test_a_higher_severity_does_more_damage(fault, kind):
    frames = [picture(kind, seed) for seed in range(4)]

    def damage(severity: int) -> float:
        total = 0.0
        for seed, frame in enumerate(frames):
            damaged = fault.at_severity(kind, severity, seed).corrupt(frame)
            total += float(np.nanmean(np.abs(damaged.astype(float) - frame.astype(float))))
        return total

    measured = [damage(severity) for severity in SEVERITIES]
    assert measured[0] > 0.0
    # A blur that is wider than the blocks of the picture has done its worst.
    assert measured[2] > measured[0] and measured[4] >= 0.9 * measured[2]


def test_another_seed_gives_other_damage():
    frame = picture("rgb")
    for fault in FRAME_FAULTS:
        one, other = (fault.at_severity("rgb", 4, seed).corrupt(frame) for seed in (1, 2))
        assert (one != other).any() or fault.name == "defocus", fault.name


@given(
    share=st.floats(0.0, 1.0), kind=st.sampled_from(kinds()), period_s=st.sampled_from([0.0, 3.0])
)
@settings(deadline=None)
def test_an_occlusion_covers_the_share_it_is_given(share, kind, period_s):
    fault = Occlusion(kind, seed=3, share=share, period_s=period_s)
    covered = fault._covered(40, 50)
    assert abs(covered.mean() - share) < 0.01


def test_a_swinging_occlusion_moves():
    fault = Occlusion("segmentation", share=0.2, period_s=2.0)
    frame = np.ones((40, 40), np.uint8)
    first, later = (fault.apply(Delivery(frame, t, t))[0].frame for t in (0, 500_000_000))
    assert (first != later).any()


def test_blur_leaves_a_hole_a_hole_and_makes_none():
    frame = picture("depth")
    for name in ("motion_blur", "defocus"):
        blurred = find_fault(name).at_severity("depth", 4).corrupt(frame)
        np.testing.assert_array_equal(np.isnan(blurred), np.isnan(frame))
        assert np.nanmin(blurred) >= np.nanmin(frame) - 1e-6
        assert np.nanmax(blurred) <= np.nanmax(frame) + 1e-6


@pytest.mark.parametrize("name", ["motion_blur", "defocus"])
def test_blur_keeps_the_brightness(name):
    frame = cv2.GaussianBlur(picture("rgb"), (0, 0), 3)
    blurred = find_fault(name).at_severity("rgb", 2).corrupt(frame)
    assert abs(blurred.mean() - frame.mean()) < 3.0


@given(share=st.floats(0.0, 1.0), count=st.integers(0, 200))
def test_a_low_rate_keeps_its_share_evenly(share, count):
    frame = np.zeros((2, 2), np.uint8)
    fault = LowRate("segmentation", share=share)
    kept = [bool(fault.apply(Delivery(frame, i, i))) for i in range(count)]
    # Over any stretch, not only over all.
    for end in range(count + 1):
        assert abs(sum(kept[:end]) - share * end) < 1.0 + 1e-6


@given(delay_periods=st.integers(0, 9))
def test_late_pictures_become_as_old_as_they_should_be(delay_periods):
    sent = stream("segmentation", 30)
    numbered = [Delivery(np.array([[i]]), d.stamp_ns, d.arrive_ns) for i, d in enumerate(sent)]
    received = run(Late("segmentation", delay_s=delay_periods * PERIOD_NS * 1e-9), numbered)
    assert [d.stamp_ns for d in received] == [d.stamp_ns for d in numbered]
    shown = [int(d.frame[0, 0]) for d in received]
    assert shown[20:] == [i - delay_periods for i in range(20, 30)]
    # The picture slows down and never stands still, nor goes back.
    assert shown == sorted(shown) and all(shown.count(i) <= 2 for i in shown)


def test_a_delay_keeps_stamps_and_jitter_keeps_the_order():
    sent = stream("thermal", 30)
    delayed = run(Delay("thermal", delay_s=0.25), sent)
    assert [d.stamp_ns for d in delayed] == [d.stamp_ns for d in sent]
    assert all(d.arrive_ns - s.arrive_ns == 250_000_000 for d, s in zip(delayed, sent, strict=True))
    arrivals = [d.arrive_ns for d in run(Jitter("thermal", seed=1, spread_s=0.2), sent)]
    assert arrivals == sorted(arrivals)
    late = [a - s.arrive_ns for a, s in zip(arrivals, sent, strict=True)]
    assert min(late) >= 0 and max(late) > 50_000_000


@given(delay_s=st.floats(0.0, 3.0), end=st.integers(1, 25))
def test_a_link_that_is_sound_again_delivers_what_it_held_at_once_and_in_order(delay_s, end):
    sent = stream("thermal", 30)
    slow = TimedFault(Delay("thermal", delay_s=delay_s), 0, sent[end].stamp_ns)
    link = DeliveryQueue({"thermal": FaultSchedule([slow])})
    received = []
    for frame in sent:
        link.send("thermal", frame)
        received += [(frame.stamp_ns, d.stamp_ns) for _, d in link.due(frame.arrive_ns)]
    assert [stamp for _, stamp in received] == [frame.stamp_ns for frame in sent]
    assert all(now_ns == stamp for now_ns, stamp in received if stamp >= sent[end].stamp_ns)


def test_a_freeze_ends_and_begins_again_and_one_for_good_does_not_end():
    sent = stream("rgb", 45)
    received = run(Frozen("rgb", freeze_s=0.5, every_s=1.0), sent)
    fresh = [r.frame is s.frame for r, s in zip(received, sent, strict=True)]
    # 15 frames a second: the first of each second, and all from its half on.
    assert fresh[:15] == [True] + [False] * 7 + [True] * 7
    assert fresh[15:30] == fresh[:15]
    for_good = run(Frozen.at_severity("rgb", 5), sent)
    assert all(r.frame is sent[0].frame for r in for_good)
    assert [r.stamp_ns for r in for_good] == [s.stamp_ns for s in sent]


@given(seed=st.integers(0, 100))
def test_burst_loss_loses_some_and_not_all(seed):
    frame = np.zeros((2, 2), np.uint8)
    fault = find_fault("burst_loss")("rgb", seed, burst_s=0.5, every_s=0.5)
    kept = [bool(fault.apply(Delivery(frame, i * PERIOD_NS, i * PERIOD_NS))) for i in range(600)]
    assert 0.2 < np.mean(kept) < 0.8


def test_a_timed_fault_lasts_from_its_start_to_its_end():
    fault = TimedFault(Drop("rgb"), start_ns=3 * PERIOD_NS, end_ns=6 * PERIOD_NS)
    received = {d.stamp_ns // PERIOD_NS for d in run(fault, stream("rgb", 10))}
    assert received == {0, 1, 2, 6, 7, 8, 9}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: find_fault("gremlins"), "unknown fault 'gremlins'; expected drop, "),
        (lambda: GaussianNoise("sonar"), "noise: kind is 'sonar'; expected rgb, "),
        (lambda: GaussianNoise("rgb", sigma=2.0), "noise: sigma is 2.0; expected 0 to 1 of"),
        (lambda: GaussianNoise("rgb", sigma=float("nan")), "noise: sigma is nan; expected 0 to"),
        (lambda: Drop.at_severity("rgb", 6), "drop: severity is 6; expected 1 to 5"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(make, expected):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value).startswith(expected) and "\n" not in str(caught.value)


def state_after(fault, kind: str) -> tuple[State, tuple[str, ...]]:
    """What the detector says after three seconds of a stream with the fault."""
    health = StreamHealth(kind, 15.0)
    arrivals = sorted(run(fault, stream(kind, 45)), key=lambda delivery: delivery.arrive_ns)
    for delivery in arrivals:
        for now_ns in range(0, delivery.arrive_ns, 10_000_000):
            if health.deadline_ns is not None and now_ns >= health.deadline_ns:
                health.tick(now_ns)
        health.on_frame(delivery.frame, delivery.stamp_ns, delivery.arrive_ns)
    return health.state, health.reasons


def test_the_detector_sees_what_can_be_seen():
    assert state_after(find_fault("late").at_severity("rgb", 1), "rgb") == (State.OK, ())
    assert state_after(Frozen.at_severity("rgb", 5), "rgb") == (State.LOST, ("frozen",))
    assert state_after(GaussianNoise("rgb", sigma=0.16), "rgb")[1] == ("noisy",)
    assert state_after(GaussianNoise("depth", sigma=0.16), "depth")[1] == ("noisy",)
    assert state_after(find_fault("defocus").at_severity("rgb", 5), "rgb")[1] == ("blurred",)


@pytest.mark.parametrize("kind", kinds())
def test_alpha_blend_leaves_the_share_of_the_signal_that_it_says(kind):
    """How much of a frame survives: all of it at 1, nothing that depends on it at 0."""
    fault, frame, other = find_fault("alpha_blend"), picture(kind), picture(kind)[::-1].copy()
    whole = fault(kind, 1, alpha=1.0).corrupt(frame)
    np.testing.assert_array_equal(whole, frame)

    def likeness(alpha: float) -> float:
        damaged = fault(kind, 1, alpha=alpha).corrupt(frame).astype(float).ravel()
        seen = np.isfinite(damaged)
        return float(np.corrcoef(damaged[seen], frame.astype(float).ravel()[seen])[0, 1])

    assert likeness(0.6) > likeness(0.4) > likeness(0.2) > 0.05
    assert abs(likeness(0.0)) < 0.05
    assert (
        fault(kind, 1, alpha=0.4).corrupt(other) != fault(kind, 1, alpha=0.4).corrupt(frame)
    ).any()
