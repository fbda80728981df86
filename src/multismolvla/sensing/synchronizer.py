"""Sets of frames that belong together, and keep coming when streams die."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Why a set has no message of a stream.
LOST, LATE, SKIPPED = "lost", "late", "skipped"

# A set that waited longer would be too old when it is complete.
MAX_EXCUSED_S = 0.2


@dataclass(frozen=True)
class SynchronizedSet:
    """One message per stream, or None.

    Attributes:
        stamp_ns: stamp of the reference stream's message.
        reference: the stream whose message the others were matched with.
        messages: every stream, in the order of the table.
        masked: stream without a message -> `lost` (its health says so), `late` (not here by the
            deadline) or `skipped` (its frames before and after are here, but none in the slop).
        stamps_ns: stream with a message -> the message's stamp.
    """

    stamp_ns: int
    reference: str
    messages: Mapping[str, Any | None]
    masked: Mapping[str, str]
    stamps_ns: Mapping[str, int] = field(default_factory=dict)

    @property
    def skew_ns(self) -> int:
        """Greatest distance of a message's stamp from the reference's."""
        return max((abs(s - self.stamp_ns) for s in self.stamps_ns.values()), default=0)


@dataclass
class _Entry:
    stamp_ns: int
    message: Any
    # From its instant, or its arrival after that: what fits a stamp from ahead is yet to come.
    waits_from_ns: int


class Synchronizer:
    """Emits one set per period of the reference stream, the first stream that is alive and fits.

    A camera whose clock has drifted away from those of all others is no reference until it fits
    one of their sets again: by its stamps all others would be missing.

    For every other stream the set holds the message nearest to the reference stamp within the
    slop. It waits for a message only while the stream is alive and, counted from the reference
    message's arrival, only for `max_wait_ns`. While the reference is silent the next live stream
    stands in for it after the same wait. Stamps of sets only rise, until the reference stream's
    stamps jump back by more than `JUMP_NS`, which starts a new time.

    All times are integers on one clock, nanoseconds. Every method returns the sets it completed.
    """

    JUMP_NS = 1_000_000_000

    def __init__(
        self, streams: Sequence[str], slop_ns: int, max_wait_ns: int, queue_size: int = 10
    ) -> None:
        """Make a synchroniser for streams that all count as alive until `set_alive`.

        Args:
            streams: names in order of preference as the reference.
            slop_ns: greatest distance from the reference stamp; keep it below half the shortest
                frame period, or a frame of the neighbouring period may be taken.
            queue_size: messages kept per stream.

        Raises:
            ValueError: no streams, a name twice, or a number that is not positive.
        """
        if not streams or len(set(streams)) != len(streams):
            raise ValueError(f"streams are {list(streams)}; expected one or more different names")
        for name, value in (("slop_ns", slop_ns), ("queue_size", queue_size)):
            if value <= 0:
                raise ValueError(f"{name} is {value}; expected a positive number")
        if max_wait_ns < 0:
            raise ValueError(f"max_wait_ns is {max_wait_ns}; expected zero or more")
        self._slop_ns, self._max_wait_ns, self._queue_size = slop_ns, max_wait_ns, queue_size
        # For a machine that runs late: time to wait beyond `max_wait_ns`, and the length of the
        # windows of which each stream's first message alone is taken; 0 takes all. By stamp, so
        # that two synchronisers with the same windows choose the same.
        self.excused_ns = 0
        self.window_ns = 0
        self._windows: dict[str, int] = {}
        self._alive = dict.fromkeys(streams, True)
        # The stream that would be the reference, if its stamps fitted the others'.
        self._misfit: str | None = None
        self._queues: dict[str, list[_Entry]] = {name: [] for name in streams}
        # Stamp of the newest arrival, used or not: nothing older will come from that stream.
        self._newest: dict[str, int] = {}
        self._last_stamp_ns: int | None = None
        self._now_ns = 0

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` is due; None while nothing waits."""
        waiting = [entry.waits_from_ns for _, entry in self._candidates()]
        return min(waiting) + self._max_wait_ns + self.excused_ns if waiting else None

    def relax(self, lag_s: float, window_s: float) -> None:
        """Wait longer where the machine runs late, and take fewer sets.

        Args:
            lag_s: beyond `max_wait_ns`; what is later still would be too old to act on.
            window_s: one message of a stream in each window of this length; 0 takes all.
        """
        self.excused_ns = round(min(lag_s, MAX_EXCUSED_S) * 1e9)
        self.window_ns = round(window_s * 1e9)

    def add(
        self, stream: str, stamp_ns: int, message: Any, receive_ns: int
    ) -> list[SynchronizedSet]:
        """Take a message in. A stamp that is there already is replaced; one from before is dropped.

        Raises:
            ValueError: the stream is unknown.
        """
        self._check(stream)
        self._advance(receive_ns)
        if not self._alive[stream] or self._left_out(stream, stamp_ns):
            return []
        if self._last_stamp_ns is not None and stamp_ns <= self._last_stamp_ns + self._slop_ns:
            jumped = stamp_ns < self._last_stamp_ns - self.JUMP_NS
            if not (jumped and stream == self._reference()):
                return []
            self._start_again()
        self._newest[stream] = stamp_ns
        queue = [entry for entry in self._queues[stream] if entry.stamp_ns != stamp_ns]
        waits_from_ns = max(receive_ns, min(stamp_ns, receive_ns + self.JUMP_NS))
        queue.append(_Entry(stamp_ns, message, waits_from_ns))
        queue.sort(key=lambda entry: entry.stamp_ns)
        self._queues[stream] = queue[-self._queue_size :]
        return self._emit()

    def set_alive(self, stream: str, alive: bool, now_ns: int) -> list[SynchronizedSet]:
        """Set whether to wait for a stream; a dead stream's messages are dropped."""
        self._check(stream)
        self._advance(now_ns)
        self._alive[stream] = alive
        if not alive:
            self._queues[stream] = []
            self._newest.pop(stream, None)
        return self._emit()

    def tick(self, now_ns: int) -> list[SynchronizedSet]:
        """Give up waiting where the deadline has passed."""
        self._advance(now_ns)
        return self._emit()

    def _left_out(self, stream: str, stamp_ns: int) -> bool:
        if not self.window_ns:
            return False
        before, window = self._windows.get(stream), stamp_ns // self.window_ns
        self._windows[stream] = window
        return window == before

    def _check(self, stream: str) -> None:
        if stream not in self._alive:
            raise ValueError(f"unknown stream '{stream}'; expected {', '.join(self._alive)}")

    def _advance(self, now_ns: int) -> None:
        if now_ns < self._now_ns:
            # The clock was set back: a message waits as if it had arrived now.
            for queue in self._queues.values():
                for entry in queue:
                    entry.waits_from_ns = min(entry.waits_from_ns, now_ns)
        self._now_ns = now_ns

    def _start_again(self) -> None:
        self._queues = {name: [] for name in self._queues}
        self._newest.clear()
        self._last_stamp_ns = self._misfit = None

    def _reference(self) -> str | None:
        alive = [name for name, alive in self._alive.items() if alive]
        return next((name for name in alive if name != self._misfit), next(iter(alive), None))

    def _emit(self) -> list[SynchronizedSet]:
        sets = []
        while (anchor := self._anchor()) is not None and (made := self._try(*anchor)) is not None:
            sets.append(made)
        return sets

    def _anchor(self) -> tuple[str, _Entry] | None:
        """Choose the message that the next set is built around, if there is one.

        The reference stream's oldest; but another stream's, if it has waited in vain for one.
        """
        *stand_ins, (reference, first) = self._candidates() or [("", None)]
        for name, entry in stand_ins:
            if self._expired(entry):
                return name, entry
        if first is None or (reference != self._reference() and not self._expired(first)):
            return None
        return reference, first

    def _candidates(self) -> list[tuple[str, _Entry]]:
        """Return the messages that may become the anchor.

        These are the oldest of each stream that match nothing of the reference stream, and, last,
        the oldest of the reference stream.
        """
        reference = self._reference()
        waiting = {name: queue[0] for name, queue in self._queues.items() if queue}
        if reference != self._misfit:
            waiting.pop(self._misfit, None)
        first = waiting.pop(reference, None)
        if first is None:
            return list(waiting.items())
        before = [
            (name, entry)
            for name, entry in waiting.items()
            if entry.stamp_ns < first.stamp_ns - self._slop_ns
        ]
        return [*before, (reference, first)]

    def _expired(self, entry: _Entry) -> bool:
        return self._now_ns >= entry.waits_from_ns + self._max_wait_ns + self.excused_ns

    def _others_agree(self, masked: Mapping[str, str]) -> bool:
        """Whether all live streams but one lack a frame here, and have one of the same instant."""
        live = [name for name, reason in masked.items() if reason != LOST]
        next_ns = [q[0].stamp_ns for name in live if (q := self._queues[name])]
        same = len(next_ns) == len(live) > 1 and max(next_ns) - min(next_ns) <= self._slop_ns
        return same and all(masked[name] == SKIPPED for name in live)

    def _try(self, reference: str, anchor: _Entry) -> SynchronizedSet | None:
        """Build the set around an anchor; None while a stream may still deliver."""
        stamp_ns = anchor.stamp_ns
        expired = self._expired(anchor)
        messages: dict[str, Any | None] = {}
        masked: dict[str, str] = {}
        stamps_ns: dict[str, int] = {}
        for name, queue in self._queues.items():
            near = [entry for entry in queue if abs(entry.stamp_ns - stamp_ns) <= self._slop_ns]
            if near:
                nearest = min(near, key=lambda entry: abs(entry.stamp_ns - stamp_ns))
                messages[name], stamps_ns[name] = nearest.message, nearest.stamp_ns
                continue
            messages[name] = None
            if not self._alive[name]:
                masked[name] = LOST
            elif self._newest.get(name, stamp_ns) > stamp_ns + self._slop_ns:
                masked[name] = SKIPPED
            elif expired:
                masked[name] = LATE
            else:
                return None
        if len(stamps_ns) == 1 and self._misfit is None and self._others_agree(masked):
            self._misfit = reference
            self._queues[reference].remove(anchor)
            found = self._anchor()
            return None if found is None else self._try(*found)
        if self._misfit in stamps_ns:
            self._misfit = None
        self._last_stamp_ns = stamp_ns
        for name, queue in self._queues.items():
            self._queues[name] = [e for e in queue if e.stamp_ns > stamp_ns + self._slop_ns]
        return SynchronizedSet(stamp_ns, reference, messages, masked, stamps_ns)
