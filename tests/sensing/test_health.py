"""Stream health: loss at once, recovery after several good frames, no loss without a cause."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.modalities.registry import kinds
from multismolvla.modalities.thresholds import Thresholds
from multismolvla.sensing.health import LATE_FRAMES, TOO_OLD_NS, State, StreamHealth

RATE_HZ = 15.0
PERIOD = round(1e9 / RATE_HZ)
START = 1_000 * 10**9


def live_frame(kind: str, rng: np.random.Generator, size=(48, 64)) -> np.ndarray:
    """A still scene as a live sensor sees it: structure and fresh noise."""
    y, x = np.mgrid[: size[0], : size[1]]
    block = (x // 8 + y // 8) % 2
    if kind == "rgb":
        clean = np.stack([60 + 120 * block, 90 + 60 * block, 120 - 40 * block], axis=-1)
        return np.clip(clean + rng.normal(0, 2, clean.shape), 0, 255).astype(np.uint8)
    if kind == "depth":
        depth = 0.6 + 0.05 * block + rng.normal(0, 0.002, size)
        depth[rng.random(size) < 0.05] = np.nan
        return depth.astype(np.float32)
    if kind == "thermal":
        return (22.0 + 0.5 * block + rng.normal(0, 0.05, size)).astype(np.float32)
    return block.astype(np.uint8)


class Bench:
    """A stream health with its own clock, fed at the nominal rate."""

    def __init__(self, kind: str = "rgb", thresholds: Thresholds | None = None) -> None:
        self.kind = kind
        self.health = StreamHealth(kind, RATE_HZ, thresholds)
        self.rng = np.random.default_rng(0)
        self.now = START
        self.stamp_offset = 0

    def live(self) -> np.ndarray:
        return live_frame(self.kind, self.rng)

    def feed(self, count: int = 1, frame=None, stamp=None) -> bool:
        for _ in range(count):
            self.now += PERIOD
            self.health.tick(self.now)
            picture = self.live() if frame is None else frame
            usable = self.health.on_frame(
                picture, self.now + self.stamp_offset if stamp is None else stamp, self.now
            )
        return usable

    def wait_for_loss(self) -> int:
        """Tick whenever due; return the silence until the loss, nanoseconds."""
        last = self.now
        while (due := self.health.deadline_ns) is not None:
            self.now = due
            self.health.tick(due)
        return self.now - last


@pytest.fixture
def bench():
    bench = Bench()
    bench.feed(30)
    assert bench.health.state is State.OK
    return bench


@pytest.mark.parametrize("kind", kinds())
def test_a_live_still_scene_is_healthy_for_every_kind(kind):
    bench = Bench(kind)
    bench.feed(5)
    for _ in range(150):
        assert bench.feed()
        assert bench.health.state is State.OK, bench.health.report(bench.now)


def test_a_stream_is_lost_until_several_good_frames_came():
    bench = Bench()
    assert bench.health.state is State.LOST
    assert bench.health.report(bench.now).age_s == float("inf")
    assert not bench.feed(4)
    assert bench.feed(1)
    assert bench.health.state is State.OK


@pytest.mark.parametrize("rate_hz", [15.0, 30.0])
def test_silence_loses_the_stream_after_two_periods(rate_hz):
    health = StreamHealth("rgb", rate_hz)
    period = round(1e9 / rate_hz)
    rng = np.random.default_rng(0)
    for k in range(1, 11):
        now = k * period
        health.on_frame(live_frame("rgb", rng), now, now)
    last = now
    while (due := health.deadline_ns) is not None:
        now = due
        health.tick(now)
    assert health.reasons == ("stale",)
    assert 2 * period <= now - last < 2 * period + 11_000_000
    report = health.report(now + 10**9)
    assert (report.state, report.rate_hz) == (State.LOST, 0.0)
    assert report.age_s == pytest.approx((now + 10**9 - last) / 1e9)


def test_a_receiver_that_slept_looks_twice_before_it_blames_the_camera(bench):
    due = bench.health.deadline_ns
    bench.health.tick(due + 30_000_000)
    assert bench.health.state is State.OK
    bench.now = due + 31_000_000 - PERIOD
    assert bench.feed()
    assert bench.health.state is State.OK


def test_frames_after_a_silence_recover_the_stream(bench):
    bench.wait_for_loss()
    assert not bench.feed(4)
    assert bench.health.reasons == ("stale",)
    assert bench.feed()
    assert bench.health.state is State.OK


@pytest.mark.parametrize(
    ("kind", "value"), [("rgb", 0), ("rgb", 255), ("rgb", 128), ("thermal", 21.5), ("depth", 0.5)]
)
def test_a_blank_frame_loses_the_stream_at_once(kind, value):
    bench = Bench(kind)
    bench.feed(10)
    blank = np.full_like(bench.live(), value)
    assert not bench.feed(1, blank)
    assert bench.health.state is State.LOST
    assert bench.health.reasons == ("blank",)


def test_a_covered_lens_is_blank_despite_its_noise(bench):
    dark = np.clip(bench.rng.normal(0, 3, (48, 64, 3)), 0, 255).astype(np.uint8)
    bench.feed(1, dark)
    assert bench.health.reasons == ("blank",)


def test_a_dark_scene_is_not_blank(bench):
    for _ in range(20):
        assert bench.feed(1, (bench.live() // 6).astype(np.uint8))
    assert "blank" not in bench.health.reasons


def test_a_frozen_stream_is_lost_within_five_frames(bench):
    frozen = bench.live()
    usable = [bench.feed(1, frozen) for _ in range(5)]
    assert usable == [True, True, True, False, False]
    assert bench.health.reasons == ("frozen",)
    bench.feed(5)
    assert bench.health.state is State.OK


def test_a_frozen_depth_stream_is_noticed_despite_missing_returns():
    bench = Bench("depth")
    bench.feed(10)
    bench.feed(4, bench.live())
    assert bench.health.reasons == ("frozen",)


def test_repeated_labels_are_normal():
    bench = Bench("segmentation")
    bench.feed(50, np.zeros((48, 64), np.uint8))
    assert bench.health.state is State.OK


@pytest.mark.parametrize("kind", ["depth", "thermal"])
def test_a_frame_without_values_is_invalid(kind):
    bench = Bench(kind)
    bench.feed(10)
    bench.feed(1, np.full((48, 64), np.nan, np.float32))
    assert bench.health.reasons == ("invalid",)


def test_thermal_counts_of_zero_are_outside_the_range_of_any_sensor():
    bench = Bench("thermal")
    bench.feed(10)
    bench.feed(1, np.full((48, 64), -273.15, np.float32))
    assert bench.health.state is State.LOST


def test_a_message_that_is_no_frame_loses_the_stream_and_says_why(bench):
    bench.now += PERIOD
    bench.health.on_bad_message("encoding is 'yuv422'; expected rgb8", bench.now)
    report = bench.health.report(bench.now)
    assert (report.state, report.reasons) == (State.LOST, ("invalid",))
    assert "yuv422" in report.detail


def damaged(bench: Bench, damage: str) -> np.ndarray:
    frame = bench.live()
    if damage == "noisy":
        return np.clip(frame + bench.rng.normal(0, 30, frame.shape), 0, 255).astype(np.uint8)
    if damage == "blurred":
        frame = frame.astype(float)
        for _ in range(12):
            frame[1:-1] = (frame[:-2] + frame[1:-1] + frame[2:]) / 3
            frame[:, 1:-1] = (frame[:, :-2] + frame[:, 1:-1] + frame[:, 2:]) / 3
        # Lens blur: the sensor's noise comes after it.
        return np.clip(frame + bench.rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
    frame[:, 24:] = 0
    return frame


@pytest.mark.parametrize("damage", ["noisy", "blurred", "occluded"])
def test_soft_damage_degrades_the_stream_and_passes(damage):
    bench = Bench()
    bench.feed(10)
    for k in range(8):
        picture = damaged(bench, damage)
        assert bench.feed(1, picture), "a degraded stream stays usable"
        assert bench.health.state is (State.OK if k < 4 else State.DEGRADED)
    assert bench.health.reasons == (damage,)
    assert bench.health.report(bench.now).detail
    bench.feed(4)
    assert bench.health.state is State.DEGRADED
    bench.feed(1)
    assert bench.health.state is State.OK


def test_a_slow_stream_is_degraded_and_says_how_slow():
    bench = Bench()
    bench.feed(20)
    for _ in range(30):
        bench.now += round(0.5 * PERIOD)
        bench.feed()
    assert bench.health.reasons == ("slow",)
    assert "10.0 frames/s instead of 15" in bench.health.report(bench.now).detail
    bench.feed(40)
    assert bench.health.state is State.OK


@pytest.mark.parametrize(
    ("offset_s", "why"), [(5.0, "future"), (-5.0, "old"), (-1e6, "zero")], ids=lambda v: str(v)
)
def test_bad_stamps_degrade_first_and_lose_the_stream_when_they_persist(bench, offset_s, why):
    for k in range(3):
        stamp = max(0, bench.now + PERIOD + round(offset_s * 1e9) + k)
        assert not bench.feed(1, stamp=stamp), "a frame without a time cannot be used"
        assert bench.health.state is (State.LOST if k == 2 else State.DEGRADED)
    report = bench.health.report(bench.now)
    assert report.reasons == ("bad_stamp",)
    assert why in report.detail


def test_recovery_needs_good_frames_in_a_row(bench):
    bench.wait_for_loss()
    bench.feed(3)
    bench.feed(1, stamp=0)
    bench.feed(4)
    assert bench.health.state is State.LOST
    bench.feed(1)
    assert bench.health.state is not State.LOST


def test_a_stamp_that_repeats_is_bad(bench):
    bench.feed(1, stamp=bench.now - 1)
    bench.feed(3, stamp=bench.now)
    assert bench.health.reasons == ("bad_stamp",)


def test_a_clock_that_is_set_back_costs_no_frame(bench):
    bench.now -= 300 * 10**9
    assert bench.feed()
    assert bench.health.state is State.OK
    bench.now -= 300 * 10**9
    bench.health.tick(bench.now)
    assert bench.health.deadline_ns > bench.now
    assert bench.feed()
    assert bench.wait_for_loss() < 2 * PERIOD + 11_000_000


def test_simulated_time_that_has_not_started_is_no_bad_stamp():
    health = StreamHealth("rgb", RATE_HZ)
    rng = np.random.default_rng(0)
    for k in range(6):
        health.on_frame(live_frame("rgb", rng), START + k * PERIOD, 0)
    assert health.state is State.OK


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-PERIOD // 4, PERIOD // 4), min_size=30, max_size=60))
def test_jitter_of_a_quarter_period_never_loses_the_stream(jitters):
    health = StreamHealth("thermal", RATE_HZ)
    rng = np.random.default_rng(0)
    for k, jitter in enumerate(jitters):
        now = START + k * PERIOD + jitter
        if health.deadline_ns is not None and health.deadline_ns <= now:
            health.tick(health.deadline_ns)
        health.on_frame(live_frame("thermal", rng), now - 1, now)
        if k >= 5:
            assert health.state is State.OK


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["rgb", "depth", "thermal"]),
    st.lists(
        st.tuples(
            st.sampled_from(["live", "zero", "bad", "tick", "tiny"]),
            st.integers(-(10**9), 3 * 10**8),
            st.integers(-(10**10), 10**10),
        ),
        max_size=40,
    ),
)
def test_nothing_that_comes_in_breaks_it(kind, events):
    health = StreamHealth(kind, RATE_HZ)
    rng = np.random.default_rng(0)
    now = START
    for event, step, offset in events:
        now += step
        if event == "tick":
            health.tick(now)
        elif event == "bad":
            health.on_bad_message("broken", now)
        else:
            frame = live_frame(kind, rng, (1, 2) if event == "tiny" else (48, 64))
            usable = health.on_frame(frame * (event != "zero"), now + offset, now)
            assert not (usable and health.state is State.LOST)
        report = health.report(now)
        assert (report.state is State.OK) == (report.reasons == ())
        assert report.age_s >= 0.0
        assert report.rate_hz >= 0.0


def test_a_machine_that_runs_late_excuses_as_much_silence(bench):
    bench.feed(10)
    bench.health.excuse(0.1)
    silence_ns = bench.wait_for_loss()
    assert 2 * PERIOD + 100_000_000 <= silence_ns <= 2 * PERIOD + 125_000_000
    assert bench.health.reasons == ("stale",)
    assert "lost there" in bench.health.report(bench.now).detail


@given(lag_s=st.floats(0.0, 100.0), periods=st.floats(0.0, 100.0))
def test_no_excuse_keeps_a_picture_that_is_too_old_to_act_on(lag_s, periods):
    bench = Bench()
    bench.feed(10)
    bench.health.excuse(lag_s, periods)
    assert bench.wait_for_loss() <= TOO_OLD_NS + 20_000_000


def test_an_excuse_ends_with_the_lag(bench):
    bench.feed(10)
    bench.health.excuse(0.3)
    bench.health.excuse(0.0)
    assert bench.wait_for_loss() <= 2 * PERIOD + 20_000_000


def test_frames_that_lay_here_count_from_when_they_came(bench):
    """After a pause of 0.3 s four frames wait, and none of them is a gap or a bad stamp."""
    bench.feed(10)
    arrivals = [bench.now + k * PERIOD for k in range(1, 5)]
    now_ns = arrivals[-1] + 30_000_000
    bench.health.tick(now_ns)
    for arrival_ns in arrivals:
        assert bench.health.on_frame(bench.live(), arrival_ns, arrival_ns, now_ns - arrival_ns)
    assert bench.health.state is State.OK
    assert bench.health.report(now_ns).rate_hz == pytest.approx(RATE_HZ, rel=0.05)


def test_frames_that_lay_here_too_long_lose_the_stream_only_if_they_go_on(bench):
    bench.feed(10)
    for k in range(1, LATE_FRAMES + 1):
        assert bench.health.state is State.OK
        arrival_ns = bench.now + k * PERIOD
        assert not bench.health.on_frame(bench.live(), arrival_ns, arrival_ns, TOO_OLD_NS + 1)
    assert bench.health.reasons == ("late_here",)
    bench.now += LATE_FRAMES * PERIOD
    bench.feed(5)
    assert bench.health.state is State.OK


def test_a_camera_that_sends_fewer_frames_on_purpose_is_not_slow():
    bench = Bench()
    bench.feed(20)
    bench.health.excuse(0.0, periods=2.0)
    for _ in range(30):
        bench.now += PERIOD
        bench.feed(1)
    assert bench.health.state is State.OK


# The picture of a driver that hangs, under noise of its last digit: a driver, a link or a decoder
# that is not exact adds it, and no two frames are equal.


def digit(kind):
    return {"rgb": 1, "depth": np.float32(0.001), "thermal": np.float32(0.01)}[kind]


@pytest.mark.parametrize("kind", ["rgb", "depth", "thermal"])
def test_a_picture_that_hangs_is_frozen_under_noise_of_its_last_digit(kind):
    bench = Bench(kind)
    bench.feed(20)
    assert bench.health.state is State.OK
    held = np.clip(bench.live(), 2, 250) if kind == "rgb" else bench.live()
    for number in range(30):
        noise = bench.rng.integers(-1, 2, held.shape)
        usable = bench.feed(frame=(held + noise * digit(kind)).astype(held.dtype))
        assert usable == (number < 29)
    assert bench.health.reasons == ("frozen",)
    assert "the same picture 30 times, but for noise of" in bench.health.report(bench.now).detail
    bench.feed(5)
    assert bench.health.state is State.OK


def test_a_jpeg_that_is_sent_for_ever_is_frozen_under_noise_too():
    bench = Bench()
    picture = cv2.imdecode(cv2.imencode(".jpg", np.clip(bench.live(), 2, 250))[1], -1)
    held = np.clip(picture, 1, 254).astype(np.int16)
    for _ in range(30):
        bench.feed(frame=(held + bench.rng.integers(-1, 2, held.shape)).astype(np.uint8))
    assert bench.health.reasons == ("frozen",)


@pytest.mark.parametrize("kind", ["rgb", "depth", "thermal"])
def test_a_still_scene_is_not_frozen(kind):
    """Also to a good sensor: half a digit of noise, as it has no bound."""
    bench = Bench(kind)
    clean = np.clip(bench.live(), 5, 250) if kind == "rgb" else bench.live()
    scale = {"rgb": 1.0, "depth": 0.001, "thermal": 0.05}[kind]
    for _ in range(90):
        noisy = clean + bench.rng.normal(0.0, 0.6 * scale, clean.shape)
        bench.feed(frame=(np.rint(noisy) if kind == "rgb" else noisy).astype(clean.dtype))
    assert bench.health.state is State.OK


def test_holes_that_come_and_go_are_a_change():
    bench = Bench("depth")
    held = np.full((48, 64), 0.5, np.float32)
    held[::8] = 0.7
    for number in range(60):
        frame = held + bench.rng.integers(-1, 2, held.shape).astype(np.float32) * digit("depth")
        frame[24 + number % 3, 30] = np.nan
        bench.feed(frame=frame)
    assert bench.health.state is State.OK


@pytest.mark.parametrize(
    ("kind", "share", "state"),
    [
        ("depth", 0.05, State.OK),
        ("depth", 0.25, State.OK),
        ("thermal", 0.1, State.OK),
        # It sees something everywhere.
        ("thermal", 0.3, State.DEGRADED),
    ],
)
def test_the_share_of_pixels_without_a_value_is_told(kind, share, state):
    bench = Bench(kind)
    lost = np.random.default_rng(1).random((48, 64)) < share
    for _ in range(20):
        frame = np.nan_to_num(bench.live(), nan=0.6)
        frame[lost] = np.nan
        bench.feed(frame=frame)
    assert bench.health.state is state
    assert bench.health.report(bench.now).no_value_share == pytest.approx(share, abs=0.03)
