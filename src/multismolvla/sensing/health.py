"""Health of a stream: alive, and plausible? A state machine on an explicit clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from multismolvla.modalities.registry import find_modality
from multismolvla.modalities.thresholds import Thresholds
from multismolvla.sensing.appearance import Appearance
from multismolvla.sensing.stamps import StampCheck

# A first look past the deadline waits this long for a second one, so that a frame which is already
# on its way through a busy machine still counts.
MIN_GRACE_NS = 10_000_000
# A frame older than this is too old to act on, wherever it waited: the policy uses no set of images
# that is older (`max_set_age_s`).
TOO_OLD_NS = 500_000_000
# Times of arrival are worked back from when a callback ran, and two may come out in the wrong order
# by a little; a larger step back is a clock that was set.
CLOCK_JUMP_NS = 50_000_000
# Frames in a row that lay here until they were too old.
LATE_FRAMES = 3


class State(IntEnum):
    """Values equal those of diagnostic_msgs/DiagnosticStatus: OK, WARN, ERROR."""

    OK = 0
    DEGRADED = 1
    LOST = 2


@dataclass(frozen=True)
class HealthReport:
    """A stream's health at one instant.

    Attributes:
        reasons: empty while OK. While lost `stale` (lost between camera and this machine),
            `late_here` (it lay in this process), `frozen`, `blank`, `bad_stamp`, `invalid`; while
            degraded `slow`, `noisy`, `blurred`, `occluded`, `bad_stamp`.
        detail: what exactly is wrong, for a person; empty while OK.
        rate_hz: measured frame rate, 0 while nothing comes.
        age_s: time since the last frame; infinite before the first.
        frames: frames received in all, usable or not.
        delays_s: least and greatest age of a stamp on arrival in the last second; None without.
        bad_stamps: stamps of the last second that could not be believed.
        no_value_share: of the newest frame's pixels.
    """

    state: State
    reasons: tuple[str, ...]
    detail: str
    rate_hz: float
    age_s: float
    frames: int
    delays_s: tuple[float, float] | None = None
    bad_stamps: int = 0
    no_value_share: float = 0.0


class StreamHealth:
    """Judges one stream from its frames and from the silence between them.

    Feed every frame to `on_frame`, every message that is no frame to `on_bad_message`, and call
    `tick` when `deadline_ns` is reached (more often does no harm). A stream starts lost, loses
    itself at once and recovers after several good frames.

    A machine that is too slow is no broken sensor. Frames are timed by when they reached this
    machine, and silence is excused for as long as the machine runs late (`excuse`), up to the age
    at which a frame is too old to act on.
    """

    def __init__(self, kind: str, rate_hz: float, thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds or find_modality(kind).health
        self._period_ns = round(1e9 / rate_hz)
        self._stale_ns = round(self.thresholds.stale_periods * self._period_ns)
        self._nominal_hz = rate_hz
        self._appearance = Appearance(self.thresholds)
        self._stamps = StampCheck(self.thresholds)
        self._arrivals: deque[int] = deque(maxlen=max(9, round(rate_hz) + 1))
        self._state = State.LOST
        self._reasons: dict[str, str] = {"stale": "no frame yet"}
        # Degrading reason -> good frames still needed before it is dropped.
        self._warnings: dict[str, int] = {}
        self._good_frames = 0
        self._frames = 0
        self._last_ns: int | None = None
        self._deadline_ns: int | None = None
        self._overdue = False
        self._excused_ns = 0
        self._slower = False
        self._late_in_a_row = 0

    @property
    def state(self) -> State:
        return self._state

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(self._reasons)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` is due, unless a frame comes before; None while there is nothing to miss."""
        return self._deadline_ns

    def report(self, now_ns: int) -> HealthReport:
        age_s = float("inf") if self._last_ns is None else max(0, now_ns - self._last_ns) / 1e9
        detail = "; ".join(text for text in self._reasons.values() if text)
        rate_hz = self._rate_hz(now_ns)
        stamps = self._stamps.recent(now_ns)
        share = self._appearance.invalid_share
        return HealthReport(
            self._state, self.reasons, detail, rate_hz, age_s, self._frames, *stamps, share
        )

    def excuse(self, lag_s: float, periods: float = 0.0) -> None:
        """Set how late the machine runs now, for `tick`.

        Args:
            lag_s: additional silence that does not lose the stream, seconds.
            periods: additional frame periods, for a camera that sends fewer frames on purpose.
        """
        excused_ns = round(lag_s * 1e9 + periods * self._period_ns)
        self._slower = periods > 0.0
        self._excused_ns = min(excused_ns, max(0, TOO_OLD_NS - self._stale_ns))

    def on_frame(self, frame: np.ndarray, stamp_ns: int, receive_ns: int, wait_ns: int = 0) -> bool:
        """Judge a frame; return whether it may be used.

        Args:
            frame: rgb (H, W, 3) uint8; depth (H, W) metres; thermal (H, W) degrees Celsius;
                segmentation (H, W) labels. Any size: best as it came from the camera.
            stamp_ns, receive_ns: the frame's stamp and the time when it reached this machine, on
                the same clock.
            wait_ns: how long it has lain here since.
        """
        self._arrive(receive_ns, wait_ns)
        if wait_ns > TOO_OLD_NS:
            # One of those that lay here during a pause: the next may be fresh.
            self._late_in_a_row += 1
            if self._late_in_a_row >= LATE_FRAMES:
                late = f"late here: images wait {wait_ns / 1e9:.2f} s for this node"
                self._judge({"late_here": late}, {}, good=False)
            return False
        self._late_in_a_row = 0
        bad_stamp = self._stamps.check(stamp_ns, receive_ns)
        losing, degrading = self._appearance.judge(frame)
        if bad_stamp:
            severe = self._stamps.bad_in_a_row >= self.thresholds.bad_stamp_frames
            (losing if severe else degrading)["bad_stamp"] = bad_stamp
        slow = self._slow(receive_ns)
        if slow:
            degrading["slow"] = slow
        self._judge(losing, degrading, good=not losing and not bad_stamp)
        return self._state is not State.LOST and not bad_stamp

    def on_bad_message(self, detail: str, receive_ns: int, wait_ns: int = 0) -> None:
        """A message came that holds no frame: wrong encoding, truncated, wrong size."""
        self._arrive(receive_ns, wait_ns)
        self._judge({"invalid": detail}, {}, good=False)

    def tick(self, now_ns: int) -> None:
        """Notice silence. The stream is lost on the second look past its deadline.

        The second look is due after as long as the first one came late: time in which this process
        did not run is no fault of the camera, and what came meanwhile is taken before. The deadline
        moves until a frame would be too old at most.
        """
        if self._deadline_ns is None or now_ns < self._deadline_ns:
            if self._last_ns is not None and now_ns < self._last_ns - CLOCK_JUMP_NS:
                self._clock_jumped_back(now_ns)
            return
        excused_ns = self._last_ns + self._stale_ns + self._excused_ns
        if now_ns < excused_ns:
            self._deadline_ns = excused_ns
            return
        if not self._overdue:
            self._overdue = True
            late_ns = now_ns - self._deadline_ns
            grace_ns = min(late_ns, max(0, TOO_OLD_NS - (now_ns - self._last_ns)))
            self._deadline_ns = now_ns + max(grace_ns, MIN_GRACE_NS)
            return
        silence_s = (now_ns - self._last_ns) / 1e9
        self._deadline_ns = None
        self._arrivals.clear()
        self._judge(self._silence(silence_s), {}, good=False)

    def _silence(self, silence_s: float) -> dict[str, str]:
        """The reason for a loss by silence, with what exactly is wrong."""
        return {"stale": f"lost there: no frame for {silence_s:.2f} s"}

    def _arrive(self, receive_ns: int, wait_ns: int = 0) -> None:
        if self._last_ns is not None:
            if receive_ns < self._last_ns - CLOCK_JUMP_NS:
                self._clock_jumped_back(receive_ns)
            receive_ns = max(receive_ns, self._last_ns)
        self._frames += 1
        self._last_ns = receive_ns
        # The next may lie here, too.
        self._deadline_ns = max(receive_ns + self._stale_ns, receive_ns + wait_ns)
        self._overdue = False
        self._arrivals.append(receive_ns)

    def _clock_jumped_back(self, now_ns: int) -> None:
        """Time starts again here: nothing measured before can be compared with what follows."""
        self._arrivals.clear()
        self._stamps.forget()
        self._last_ns = now_ns
        if self._deadline_ns is not None:
            self._deadline_ns = now_ns + self._stale_ns
            self._overdue = False

    def _judge(self, losing: dict[str, str], degrading: dict[str, str], good: bool) -> None:
        if losing:
            self._state, self._reasons = State.LOST, losing
            self._good_frames = 0
            self._warnings.clear()
            return
        needed = self.thresholds.recovery_frames
        self._warnings = {name: left - 1 for name, left in self._warnings.items() if left > 1}
        self._warnings.update(dict.fromkeys(degrading, needed))
        if self._state is State.LOST:
            self._good_frames = self._good_frames + 1 if good else 0
            if self._good_frames < needed:
                return
        self._state = State.DEGRADED if self._warnings else State.OK
        self._reasons = {
            name: degrading.get(name, self._reasons.get(name, ""))
            for name in sorted(self._warnings)
        }

    def _rate_hz(self, now_ns: int) -> float:
        if len(self._arrivals) < 2:
            return 0.0
        # A frame is not overdue within its own period: until then the rate stays what it was.
        span_ns = max(self._arrivals[-1], now_ns - self._period_ns) - self._arrivals[0]
        return (len(self._arrivals) - 1) / (span_ns / 1e9) if span_ns > 0 else 0.0

    def _slow(self, now_ns: int) -> str:
        if self._slower or len(self._arrivals) < self._arrivals.maxlen:
            return ""
        rate_hz = self._rate_hz(now_ns)
        if rate_hz >= self.thresholds.slow_fraction * self._nominal_hz:
            return ""
        return f"{rate_hz:.1f} frames/s instead of {self._nominal_hz:g}"
