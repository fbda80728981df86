"""What the policy may know now: the newest set of images, joint states and ground truth."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from multismolvla.control.state_history import StateHistory
from multismolvla.control.stream_mask import StreamMask, stream_mask
from multismolvla.interfaces import Observation
from multismolvla.streams import StreamTable

# Ground truth that has stopped is no truth: an expert would act on a world that has moved on.
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
        """Begin anew."""
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

    Attributes:
        states: the joint positions of the last second.
        refused: the streams whose images do not fit the joints, each with why.
    """

    def __init__(
        self,
        table: StreamTable,
        max_set_age_s: float,
        check: SetCheck | None = None,
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
        self.states = StateHistory()

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
