"""What the policy may see now: newest set of frames, masks, joint states."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from multismolvla.control.state_jumps import StateJumps
from multismolvla.interfaces import Observation
from multismolvla.streams import StreamTable

# Joint positions of the last second: the state at the instant of the images can be taken.


class StateHistory:
    """Positions (J,) by stamp. Written by one thread, read by others.

    Args:
        span_ns: how much is kept, nanoseconds.
        joints: names of the positions; empty where they are no joints.
    """

    def __init__(self, span_ns: int = 1_000_000_000, joints: Sequence[str] = ()) -> None:
        self._span_ns = span_ns
        self._jumps = StateJumps(joints)
        self._lock = threading.Lock()
        self._samples: deque[tuple[int, np.ndarray]] = deque()

    def add(self, stamp_ns: int, positions: np.ndarray) -> None:
        """Take in a sample; one that is not newer than the last replaces what came after it."""
        with self._lock:
            self._jumps.add(stamp_ns, positions)
            while self._samples and self._samples[-1][0] >= stamp_ns:
                self._samples.pop()
            self._samples.append((stamp_ns, positions))
            while self._samples[0][0] < stamp_ns - self._span_ns:
                self._samples.popleft()

    def problem(self, now_ns: int) -> str:
        """Why the positions are not to be believed now, "" for nothing."""
        with self._lock:
            return self._jumps.problem(now_ns)

    def latest(self) -> np.ndarray | None:
        """(J,) newest positions, None without any."""
        with self._lock:
            return self._samples[-1][1] if self._samples else None

    def age_s(self, now_ns: int) -> float | None:
        """Age of the newest sample, None without one."""
        with self._lock:
            return (now_ns - self._samples[-1][0]) * 1e-9 if self._samples else None

    def at(self, stamp_ns: int, slack_ns: int | None = None) -> np.ndarray | None:
        """Positions at an instant: linear between samples, the nearest sample outside of them.

        Args:
            slack_ns: how far outside there is still an answer; None for however far.
        """
        with self._lock:
            samples = list(self._samples)
        if not samples:
            return None
        outside_ns = max(samples[0][0] - stamp_ns, stamp_ns - samples[-1][0])
        if slack_ns is not None and outside_ns > slack_ns:
            return None
        after = bisect_right([stamp for stamp, _ in samples], stamp_ns)
        if after == 0:
            return samples[0][1]
        if after == len(samples):
            return samples[-1][1]
        (t0, p0), (t1, p1) = samples[after - 1], samples[after]
        return p0 + (p1 - p0) * ((stamp_ns - t0) / (t1 - t0))

    def clear(self) -> None:
        """Forget every sample: the clock was set back."""
        with self._lock:
            self._samples.clear()
            self._jumps.clear()


# Which streams the policy may use now, and why not the others.


@dataclass(frozen=True)
class StreamMask:
    """Availability of every stream of the table, in its order.

    Attributes:
        available: stream name -> True where the stream may be used.
        reasons: stream name -> why it may not be used, "" where it may.
    """

    available: Mapping[str, bool] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def lost_since(self, earlier: StreamMask) -> list[str]:
        """Streams that were available in `earlier` and are not now."""
        return [
            name for name, was in earlier.available.items() if was and not self.available.get(name)
        ]


def stream_mask(
    names: Collection[str],
    statuses: Mapping[str, tuple[str, str]],
    absent: Mapping[str, str],
    set_age_s: float | None,
    max_set_age_s: float,
    lag_s: float = 0.0,
) -> StreamMask:
    """Combine the statuses of the sensor nodes with the images that have arrived.

    A stream is available only if its status is in time and is not LOST, and the newest set of
    images has a message of it. Neither is enough without the other.

    Args:
        names: every stream of the table.
        statuses: stream name -> (state, reason); a stream without an entry has no status at all.
        absent: streams that have no message in the newest set -> why, such as `late`.
        set_age_s: age of the newest set, None before the first one.
        max_set_age_s: age from which the newest set is not used.
        lag_s: how late this process runs, to distinguish a set that is late here from one that
            was never sent.
    """
    reasons = {}
    for name in names:
        state, reason = statuses.get(name, ("LOST", "no status"))
        if state == "LOST":
            reasons[name] = reason or "lost"
        elif set_age_s is None or set_age_s > max_set_age_s:
            late_here = set_age_s is not None and set_age_s - lag_s <= max_set_age_s
            reasons[name] = "late_here" if late_here else "no image set"
        elif name in absent:
            reasons[name] = f"image {absent[name]}"
        else:
            reasons[name] = ""
    return StreamMask({name: not reasons[name] for name in names}, reasons)


# Whether enough streams are left to act on; with too few the arm holds still.


@dataclass(frozen=True)
class GateDecision:
    """What the policy may do now.

    Attributes:
        go: False means that the arm must hold.
        reason: one sentence for the person at the robot; empty when `go`.
    """

    go: bool
    reason: str = ""


class StreamGate:
    """The minimum of streams that a policy needs.

    Args:
        table: the streams.
        min_visual_streams: streams that must be available; 0 never holds, for a policy that does
            not look.

    Raises:
        ValueError: the table has too few streams to ever let the arm move.
    """

    def __init__(self, table: StreamTable, min_visual_streams: int) -> None:
        self._names = table.names
        if not 0 <= min_visual_streams <= len(self._names):
            raise ValueError(
                f"min_visual_streams is {min_visual_streams}; expected 0 to {len(self._names)}, "
                "the number of streams in the stream table"
            )
        self._minimum = min_visual_streams

    def decide(self, mask: Mapping[str, bool]) -> GateDecision:
        """Decide from the mask (stream name -> may be used); a stream it lacks counts as lost."""
        left = [name for name in self._names if mask.get(name, False)]
        if len(left) >= self._minimum:
            return GateDecision(True)
        which = f" ({', '.join(left)})" if left else ""
        return GateDecision(
            False,
            f"holding: {len(left)} of {len(self._names)} streams left{which}, "
            f"at least {self._minimum} needed",
        )


# The policy's input: the newest set of images, joint states and privileged object poses.

# Older object poses are not used: an expert would act on a scene that has changed.
MAX_OBJECTS_AGE_NS = 1_000_000_000
# Images are compared with the joints of their instant only where these are known that nearly.
MAX_JOINTS_GAP_NS = 30_000_000


class SetCheck(Protocol):
    """Finds images that do not fit the joints, see `pose_check.check.PoseCheck`."""

    def judge(
        self, frames: Mapping[str, np.ndarray | None], joints: np.ndarray
    ) -> Mapping[str, str]:
        """Take in a set of images; return the streams that may not be used, each with why."""
        ...

    def forget(self) -> None:
        """Begin again."""
        ...


@dataclass(frozen=True)
class _Set:
    received_ns: int
    stamp_ns: int
    frames: Mapping[str, np.ndarray | None]
    absent: Mapping[str, str]


class PolicyView:
    """Written by one thread, read by others.

    Each value that is read is one reference to something that is never changed afterwards.

    Args:
        max_set_age_s: age from which the newest set of images counts for nothing.
        check: has every set before it counts.
        joints: names of the states; empty where they are no joints.

    Attributes:
        states: the joint positions of the last second.
        refused: the streams whose images do not fit the joints, each with why.
    """

    def __init__(
        self,
        table: StreamTable,
        max_set_age_s: float,
        check: SetCheck | None = None,
        joints: Sequence[str] = (),
    ) -> None:
        self._table = table
        self._max_set_age_s = max_set_age_s
        self._check = check
        self._check_suspended = False
        # Where joint states come seldom, those of a set's instant come after the set.
        self._unjudged: deque[tuple[int, Mapping[str, np.ndarray | None]]] = deque(maxlen=2)
        self.refused: Mapping[str, str] = {}
        self._newest: _Set | None = None
        self._objects: tuple[int, Mapping[str, np.ndarray]] = (0, {})
        self.states = StateHistory(joints=joints)

    def on_set(
        self,
        received_ns: int,
        stamp_ns: int,
        frames: Mapping[str, np.ndarray | None],
        absent: Mapping[str, str],
    ) -> None:
        """Take in a set of images of one instant.

        Args:
            frames: stream -> its conditioned frame, or None.
            absent: stream without an image -> why.
        """
        if self._check is not None and not self._check_suspended:
            unjudged = self._unjudged
            unjudged.append((stamp_ns, frames))
            self._judge(unjudged, self._check)
        absent = {**self.refused, **absent}
        self._newest = _Set(received_ns, stamp_ns, frames, absent)

    def suspend_check(self, suspended: bool) -> None:
        """Compare no images with the joints for now: what was found counts no longer."""
        if suspended and not self._check_suspended and self._check is not None:
            self._forget_check()
        self._check_suspended = suspended

    def on_objects(self, received_ns: int, objects: Mapping[str, np.ndarray]) -> None:
        """Take in the true poses of objects, see `Observation.privileged`."""
        self._objects = (received_ns, objects)

    def mask(
        self, now_ns: int, statuses: Mapping[str, tuple[str, str]], lag_s: float = 0.0
    ) -> StreamMask:
        """Which streams may be used now, and why not the others.

        Args:
            statuses: stream -> (state, reason); see `stream_mask`.
            lag_s: how late this process runs, seconds.
        """
        return self._mask(self._newest, now_ns, statuses, lag_s)

    def observation(
        self,
        now_ns: int,
        task: str,
        statuses: Mapping[str, tuple[str, str]],
    ) -> Observation:
        """Take the newest set and the state of its instant.

        Raises:
            ValueError: there are no joint states.
        """
        newest = self._newest
        available = dict(self._mask(newest, now_ns, statuses).available)
        frames: dict[str, np.ndarray | None] = dict.fromkeys(self._table.names)
        stamp_ns = now_ns
        if newest is not None and any(available.values()):
            stamp_ns = min(newest.stamp_ns, now_ns)
            for stream in self._table:
                if available[stream.name]:
                    frames[stream.name] = newest.frames[stream.name]
                available[stream.name] = frames[stream.name] is not None
        state = self.states.at(stamp_ns)
        if state is None:
            raise ValueError("no joint_states")
        objects_ns, objects = self._objects
        fresh = 0 <= now_ns - objects_ns <= MAX_OBJECTS_AGE_NS
        return Observation(stamp_ns, frames, available, state, task, objects if fresh else {})

    def seen_since(self, since_ns: int) -> bool:
        """Whether the newest set of images was taken at or after `since_ns`."""
        return self._newest is not None and self._newest.stamp_ns >= since_ns

    def clear(self) -> None:
        """Forget everything with a stamp: the clock was set back."""
        self._newest = None
        self._objects = (0, {})
        self.states.clear()
        if self._check is not None:
            self._forget_check()

    def _forget_check(self) -> None:
        # Not emptied: the writing thread may be reading it.
        self._unjudged = deque(maxlen=2)
        self.refused = {}
        self._check.forget()

    def _judge(
        self, unjudged: deque[tuple[int, Mapping[str, np.ndarray | None]]], check: SetCheck
    ) -> None:
        """Compare sets with the joints as far as these are known."""
        while unjudged:
            stamp_ns, frames = unjudged[0]
            joints = self.states.at(stamp_ns, MAX_JOINTS_GAP_NS)
            if joints is None:
                return
            self.refused = check.judge(frames, joints)
            unjudged.popleft()

    def _mask(
        self,
        newest: _Set | None,
        now_ns: int,
        statuses: Mapping[str, tuple[str, str]],
        lag_s: float = 0.0,
    ) -> StreamMask:
        absent, age_s = {}, None
        if newest is not None:
            absent, age_s = newest.absent, (now_ns - newest.received_ns) * 1e-9
        limit_s = self._max_set_age_s
        return stream_mask(self._table.names, statuses, absent, age_s, limit_s, lag_s)
