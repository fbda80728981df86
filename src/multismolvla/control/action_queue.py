"""The queue of actions between a slow policy and a fast control loop.

Every queued target belongs to an absolute instant, so nothing is ever popped: reading interpolates
at the time asked for. The same instant therefore gives the same target however often, and by
whomever, it is read. Which row of a chunk that arrives late belongs to now is `chunk_entry`'s
matter.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from multismolvla.control.chunk_entry import ChunkEntry, nearest
from multismolvla.control.chunk_merging import MergeStrategy
from multismolvla.interfaces import ActionChunk


@dataclass(frozen=True)
class QueueLevel:
    """How full the queue is at one instant.

    Attributes:
        actions: rows whose period has not ended yet.
        seconds: time until the queue has nothing more to say.
        chunk_size: rows of the chunk merged last, 0 before the first one.
        period_s: time between two rows of that chunk, seconds; 0.0 before the first one.
    """

    actions: int
    seconds: float
    chunk_size: int
    period_s: float


@dataclass(frozen=True)
class QueuedTargets:
    """A copy of what is queued: `targets[i]` (K, J) belongs to `times_ns[i]`, ends at `end_ns`."""

    times_ns: np.ndarray
    targets: np.ndarray
    end_ns: int


@dataclass(frozen=True)
class _Plan:
    times_ns: np.ndarray
    targets: np.ndarray
    end_ns: int
    stamp_ns: int
    chunk_size: int
    period_ns: int

    def covers(self, now_ns: int) -> bool:
        """Whether there is a target for this instant.

        A reader may have looked at the clock just before a chunk was merged: for up to one period
        before the merge its first target, the one for the instant of the merge, stands in.
        """
        return self.times_ns[0] - self.period_ns < now_ns < self.end_ns

    def at(self, times_ns: np.ndarray) -> np.ndarray:
        """(K, J) targets at (K,) instants: linear between rows, the last row beyond them."""
        # Relative to the first row: float64 holds wall-clock nanoseconds to only 256 ns.
        start = self.times_ns[0]
        x, knots = (times_ns - start).astype(float), (self.times_ns - start).astype(float)
        return np.stack([np.interp(x, knots, joint) for joint in self.targets.T], axis=1)


class ActionQueue:
    """Time-stamped targets; `entry` says where a new chunk begins, `merge` how it meets the old.

    One lock is held over the whole of every read-merge-write: a queue that is read under its lock,
    merged outside and written back lets the control loop run an action twice.

    `generation` counts the calls of `clear`. A chunk is merged only if it was asked for in the
    present generation, so an inference that was in flight during a change of task cannot bring the
    old task's actions back.
    """

    def __init__(self, merge: MergeStrategy, entry: ChunkEntry = nearest) -> None:
        self._merge = merge
        self._entry = entry
        self._lock = threading.Lock()
        self._plan: _Plan | None = None
        self._generation = 0

    @property
    def generation(self) -> int:
        """Number of calls of `clear` so far."""
        return self._generation

    def merge(
        self,
        chunk: ActionChunk,
        now_ns: int,
        *,
        generation: int | None = None,
        anchor: np.ndarray | None = None,
    ) -> int:
        """Merge a chunk into what is queued and return how many of its actions lie ahead.

        Nothing changes and 0 is returned where the chunk has ended already, has not begun, answers
        an older observation than the last one merged, or was asked for before the last `clear`.

        Args:
            generation: `generation` at the time the chunk was asked for; None skips the check.
            anchor: (J,) pose that stands for the old chunk where nothing was queued, so that the
                chunk is entered, and a crossfade starts, where the arm is.
        """
        period_ns = round(chunk.period_s * 1e9)
        rows = len(chunk.actions)
        with self._lock:
            old = self._plan
            if (
                not chunk.stamp_ns <= now_ns < chunk.end_ns
                or (generation is not None and generation != self._generation)
                or (old is not None and chunk.stamp_ns < old.stamp_ns)
            ):
                return 0
            told = anchor if old is None else old.at(np.array([now_ns], dtype=np.int64))[0]
            delay_ns = 0
            if told is not None:
                age_s = (now_ns - chunk.stamp_ns) * 1e-9
                delay_ns = period_ns * self._entry(chunk.actions, chunk.period_s, age_s, told)
            start_ns = chunk.stamp_ns + delay_ns
            new = _Plan(
                times_ns=start_ns + np.arange(rows, dtype=np.int64) * period_ns,
                targets=np.array(chunk.actions, dtype=float),
                end_ns=start_ns + rows * period_ns,
                stamp_ns=chunk.stamp_ns,
                chunk_size=rows,
                period_ns=period_ns,
            )
            # A knot at this very instant makes a crossfade continuous between the rows, too.
            times = np.concatenate(([now_ns], new.times_ns[new.times_ns > now_ns]))
            new_targets = new.at(times)
            if old is not None:
                old_targets = old.at(times)
                covered = (times >= old.times_ns[0]) & (times < old.end_ns)
            else:
                old_targets = new_targets if anchor is None else np.tile(anchor, (len(times), 1))
                covered = np.zeros(len(times), dtype=bool)
            targets = self._merge(old_targets, new_targets, covered, (times - now_ns) * 1e-9)
            self._plan = _Plan(times, targets, new.end_ns, new.stamp_ns, rows, period_ns)
            return self._level(now_ns).actions

    def sample(self, now_ns: int) -> np.ndarray | None:
        """(J,) target for this instant, or None where the queue has nothing to say about it."""
        with self._lock:
            plan = self._plan
            if plan is None or not plan.covers(now_ns):
                return None
            return plan.at(np.array([now_ns], dtype=np.int64))[0]

    def look_ahead(self, now_ns: int, count: int, step_ns: int) -> np.ndarray | None:
        """(N, J) targets for now, now + step, ...; shorter than `count` where the queue ends.

        None where the queue has nothing to say about now.
        """
        times = now_ns + np.arange(count, dtype=np.int64) * step_ns
        with self._lock:
            plan = self._plan
            if plan is None or not plan.covers(now_ns):
                return None
            return plan.at(times[times < plan.end_ns])

    def level(self, now_ns: int) -> QueueLevel:
        """How full the queue is; reading never changes it."""
        with self._lock:
            return self._level(now_ns)

    def _level(self, now_ns: int) -> QueueLevel:
        plan = self._plan
        if plan is None:
            return QueueLevel(0, 0.0, 0, 0.0)
        left_ns = max(0, plan.end_ns - now_ns)
        actions = min(plan.chunk_size, -(-left_ns // plan.period_ns))
        return QueueLevel(int(actions), left_ns * 1e-9, plan.chunk_size, plan.period_ns * 1e-9)

    def queued(self) -> QueuedTargets | None:
        """A copy of what is queued, None when nothing is."""
        with self._lock:
            plan = self._plan
            if plan is None:
                return None
            return QueuedTargets(plan.times_ns.copy(), plan.targets.copy(), int(plan.end_ns))

    def clear(self) -> int:
        """Forget everything, refuse chunks that are still on their way, return the generation."""
        with self._lock:
            self._plan = None
            self._generation += 1
            return self._generation
