"""What the policy may know now: the newest set of images, joint states and ground truth."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from multismolvla.control.state_history import StateHistory
from multismolvla.control.stream_mask import StreamMask, stream_mask
from multismolvla.interfaces import Observation
from multismolvla.streams import Stream, StreamTable

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
    messages: Mapping[str, Any | None]
    absent: Mapping[str, str]


class PolicyView:
    """Written by one thread, read by others.

    Each value that is read is one reference to something that is never changed afterwards.

    Args:
        max_set_age_s: age from which the newest set of images counts for nothing.
        frame_of: the conditioned frame of an image, or None where it cannot be converted: it is
            then masked, like one that is not there. By default images are frames.
        check: has every set before it counts.

    Attributes:
        states: the joint positions of the last second.
        refused: the streams whose images do not fit the joints, each with why.
    """

    def __init__(
        self,
        table: StreamTable,
        max_set_age_s: float,
        frame_of: Callable[[Stream, Any], np.ndarray | None] = lambda _, image: image,
        check: SetCheck | None = None,
    ) -> None:
        self._table = table
        self._max_set_age_s = max_set_age_s
        self._frame_of = frame_of
        self._check = check
        # Where joint states come seldom, those of a set's instant come after the set.
        self._unjudged: deque[tuple[int, Mapping[str, Any | None]]] = deque(maxlen=2)
        self.refused: Mapping[str, str] = {}
        self._newest: _Set | None = None
        self._objects: tuple[int, Mapping[str, np.ndarray]] = (0, {})
        self.states = StateHistory()

    def on_set(
        self,
        received_ns: int,
        stamp_ns: int,
        messages: Mapping[str, Any | None],
        absent: Mapping[str, str],
    ) -> None:
        """Take in a set of images of one instant.

        Args:
            messages: stream -> its image, in whatever form, or None.
            absent: stream without an image -> why.
        """
        if self._check is not None:
            unjudged = self._unjudged
            unjudged.append((stamp_ns, messages))
            self._judge(unjudged, self._check)
        absent = {**self.refused, **absent}
        self._newest = _Set(received_ns, stamp_ns, messages, absent)

    def on_objects(self, received_ns: int, objects: Mapping[str, np.ndarray]) -> None:
        """Take in the true poses of objects, see `Observation.privileged`."""
        self._objects = (received_ns, objects)

    def mask(self, now_ns: int, statuses: Mapping[str, tuple[str, str]]) -> StreamMask:
        """Which streams may be used now, and why not the others.

        Args:
            statuses: stream -> (state, reason); see `stream_mask`.
        """
        return self._mask(self._newest, now_ns, statuses)

    def observation(
        self,
        now_ns: int,
        task: str,
        statuses: Mapping[str, tuple[str, str]],
    ) -> Observation:
        """Convert the newest set and take the state of its instant.

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
                message = newest.messages[stream.name]
                if available[stream.name] and message is not None:
                    frames[stream.name] = self._frame_of(stream, message)
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
        # Not emptied: the writing thread may be reading it.
        self._unjudged = deque(maxlen=2)
        self.refused = {}
        if self._check is not None:
            self._check.forget()

    def _judge(
        self, unjudged: deque[tuple[int, Mapping[str, Any | None]]], check: SetCheck
    ) -> None:
        """Compare sets with the joints as far as these are known."""
        while unjudged:
            stamp_ns, messages = unjudged[0]
            joints = self.states.at(stamp_ns, MAX_JOINTS_GAP_NS)
            if joints is None:
                return
            frames = {
                stream.name: self._frame_of(stream, message)
                for stream in self._table
                if (message := messages.get(stream.name)) is not None
            }
            self.refused = check.judge(frames, joints)
            unjudged.popleft()

    def _mask(
        self, newest: _Set | None, now_ns: int, statuses: Mapping[str, tuple[str, str]]
    ) -> StreamMask:
        absent, age_s = {}, None
        if newest is not None:
            absent, age_s = newest.absent, (now_ns - newest.received_ns) * 1e-9
        return stream_mask(self._table.names, statuses, absent, age_s, self._max_set_age_s)
