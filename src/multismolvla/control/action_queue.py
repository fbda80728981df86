"""From chunks of actions to setpoints: the row at which a chunk is merged, merging, the queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from multismolvla.embodiment.description import ActionSpace
from multismolvla.interfaces import ActionChunk

# The row at which a late chunk is merged.
#
# During the inference the arm has moved on along the previous chunk. If the two chunks agree, the
# new one is merged at its time stamp: at the row of the current instant. If they disagree, that row
# is a pose which the arm has not reached: the rows before it, such as closing the gripper, would be
# skipped, and more frequent inference makes it worse. `nearest` therefore merges the chunk at the
# row nearest to the current setpoint and executes it from there.
#
# Pure functions; nothing here knows about clocks or locks.

# (rows (T, J), period_s, age_s of the chunk's first row, pose (J,) that is commanded now)
# -> periods by which the chunk is executed later than its time stamp; negative is earlier.
ChunkEntry = Callable[[np.ndarray, float, float, np.ndarray], int]

# Setpoints are ahead of the measured pose that a chunk begins at: by two to four rows of 1/30 s on
# the SO-101, more while the arm accelerates.
AHEAD_S = 0.4
# A time shift of a second costs as much as this distance. It decides where the arm rests and all
# rows are near, and keeps rows from being repeated or skipped without a reason.
RETIMING_RAD_PER_S = 0.3


def stamp(rows: np.ndarray, period_s: float, age_s: float, pose: np.ndarray) -> int:
    """At the time stamp: each row at its own instant, wherever the arm is."""
    return 0


def nearest(rows: np.ndarray, period_s: float, age_s: float, pose: np.ndarray) -> int:
    """At the row nearest to the pose, at most `AHEAD_S` after the current instant.

    Compared in steps of a period from the instant on, so that a chunk which agrees with the
    previous one is executed exactly at its time stamps.
    """
    age = age_s / period_s
    ahead = min(AHEAD_S / period_s, max(0.0, len(rows) - 1 - age))
    delays = np.arange(-int(ahead), int(age) + 1)
    knots = np.arange(len(rows))
    met = np.stack([np.interp(age - delays, knots, joint) for joint in rows.T], axis=1)
    cost = np.square(met - pose).sum(axis=1) + np.square(RETIMING_RAD_PER_S * period_s * delays)
    return int(delays[np.argmin(cost)])


ENTRIES: dict[str, ChunkEntry] = {"nearest": nearest, "stamp": stamp}


# How the rows of a new chunk replace those still queued from the old one.
#
# Pure functions on rows that belong to the same instants. `old` is what the queue would have done
# at each instant; where `covered` is False the old chunk had already ended and `old` is its last
# target, held. Nothing here knows about clocks or locks.

# (old (K, J), new (K, J), covered (K,) bool, ahead_s (K,) seconds from now) -> merged (K, J)
MergeStrategy = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def latest_only(
    old: np.ndarray, new: np.ndarray, covered: np.ndarray, ahead_s: np.ndarray
) -> np.ndarray:
    """The new chunk replaces the old one at once. The setpoint may step."""
    return new.copy()


def crossfade(
    old: np.ndarray, new: np.ndarray, covered: np.ndarray, ahead_s: np.ndarray, *, fade_s: float
) -> np.ndarray:
    """Move linearly from the old chunk to the new one over `fade_s`. The setpoint never steps.

    An old chunk that ends within the fade is continued with its last target: dropping it would make
    the step that the fade avoids.
    """
    weight = np.clip(ahead_s / fade_s, 0.0, 1.0)[:, None]
    return (1.0 - weight) * old + weight * new


STRATEGIES: tuple[str, ...] = ("latest_only", "crossfade")


def merge_strategy(name: str, crossfade_s: float) -> MergeStrategy:
    """Return the strategy of that name.

    Raises:
        ValueError: unknown name, or a crossfade time that is not positive.
    """
    if name == "latest_only":
        return latest_only
    if name != "crossfade":
        raise ValueError(f"merge is '{name}'; expected one of {', '.join(STRATEGIES)}")
    if not crossfade_s > 0:
        raise ValueError(f"crossfade_s is {crossfade_s}; expected a positive time in seconds")
    return partial(crossfade, fade_s=crossfade_s)


# The queue of actions between a slow policy and a fast control loop.
#
# Every queued target belongs to an absolute instant, so nothing is ever popped: reading
# interpolates at the requested time. The same instant therefore gives the same target however
# often it is read.
#
# An arm that is commanded by steps is read once per period. A step holds for its period, since half
# of a step is another motion, and nothing lies between two of them. A late chunk is entered at its
# time stamp: the rows for which the arm has moved along the old chunk are done. Where it was held
# still instead, because the queue had run dry, its rows are still to be done, and the chunk is
# executed later by that time. Neither `entry` nor `merge` is asked: the nearest pose means nothing
# here, and a crossfade, which keeps a pose from jumping, would only have the arm follow an old
# chunk for longer.


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
    # Of an arm that is commanded by steps.
    steps: ActionSpace | None

    def covers(self, now_ns: int) -> bool:
        """Whether there is a target for this instant.

        A reader may have looked at the clock just before a chunk was merged: for up to one period
        before the merge its first target, the one for the instant of the merge, stands in.
        """
        return self.times_ns[0] - self.period_ns < now_ns < self.end_ns

    def at(self, times_ns: np.ndarray) -> np.ndarray:
        """(K, J) targets at (K,) instants: linear between rows, the last row beyond them.

        Steps hold until the next row, and beyond the end the arm is held still.
        """
        if self.steps is not None:
            rows = np.searchsorted(self.times_ns, times_ns, side="right") - 1
            found = self.targets[np.maximum(rows, 0)]
            ended = (times_ns >= self.end_ns)[:, None]
            return np.where(ended, self.steps.still(found), found)
        # Relative to the first row: float64 holds wall-clock nanoseconds to only 256 ns.
        start = self.times_ns[0]
        x, knots = (times_ns - start).astype(float), (self.times_ns - start).astype(float)
        return np.stack([np.interp(x, knots, joint) for joint in self.targets.T], axis=1)


class ActionQueue:
    """Time-stamped targets; `entry` chooses a new chunk's row, `merge` how it replaces the old.

    `space` is the arm's action space; None for joint targets. For steps see above.

    One lock is held over the whole of every read-merge-write: a queue that is read under its lock,
    merged outside and written back lets the control loop run an action twice.

    `generation` counts the calls of `clear`. A chunk is merged only if it was requested in the
    current generation, so an inference that was in flight during a change of task cannot bring the
    old task's actions back.
    """

    def __init__(
        self,
        merge: MergeStrategy,
        entry: ChunkEntry = nearest,
        space: ActionSpace | None = None,
    ) -> None:
        self._steps = space if space is not None and space.deltas else None
        self._merge = merge if self._steps is None else latest_only
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

        Nothing changes and 0 is returned if the chunk has ended already, has not begun, is from an
        older observation than the last one merged, or was requested before the last `clear`.

        Args:
            generation: `generation` at the time of the request; None skips the check.
            anchor: (J,) pose that replaces the old chunk if nothing was queued, so that the chunk
                is merged, and a crossfade starts, where the arm is; None for steps.
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
            commanded = anchor if old is None else old.at(np.array([now_ns], dtype=np.int64))[0]
            delay_ns = 0
            if self._steps is not None:
                moved_until_ns = chunk.stamp_ns if old is None else min(old.end_ns, now_ns)
                delay_ns = now_ns - max(moved_until_ns, chunk.stamp_ns)
            elif commanded is not None:
                age_s = (now_ns - chunk.stamp_ns) * 1e-9
                delay_ns = period_ns * self._entry(chunk.actions, chunk.period_s, age_s, commanded)
            start_ns = chunk.stamp_ns + delay_ns
            new = _Plan(
                times_ns=start_ns + np.arange(rows, dtype=np.int64) * period_ns,
                targets=np.array(chunk.actions, dtype=float),
                end_ns=start_ns + rows * period_ns,
                stamp_ns=chunk.stamp_ns,
                chunk_size=rows,
                period_ns=period_ns,
                steps=self._steps,
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
            self._plan = _Plan(
                times, targets, new.end_ns, new.stamp_ns, rows, period_ns, self._steps
            )
            return self._level(now_ns).actions

    def sample(self, now_ns: int) -> np.ndarray | None:
        """(J,) target for this instant, or None where the queue has nothing to say about it."""
        with self._lock:
            plan = self._plan
            if plan is None or not plan.covers(now_ns):
                return None
            return plan.at(np.array([now_ns], dtype=np.int64))[0]

    def look_ahead(self, now_ns: int, count: int, step_ns: int) -> QueuedTargets | None:
        """Targets for now, now + step, ...; fewer than `count` where the queue ends.

        Steps come with the instants at which their rows begin, whenever they are read: a step that
        has been executed can be told by its instant.

        None where the queue has nothing to say about now.
        """
        times = now_ns + np.arange(count, dtype=np.int64) * step_ns
        with self._lock:
            plan = self._plan
            if plan is None or not plan.covers(now_ns):
                return None
            if self._steps is not None:
                first = max(0, int(np.searchsorted(plan.times_ns, now_ns, side="right")) - 1)
                rows = slice(first, first + count)
                return QueuedTargets(plan.times_ns[rows], plan.targets[rows], plan.end_ns)
            times = times[times < plan.end_ns]
            return QueuedTargets(times, plan.at(times), plan.end_ns)

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
        """Forget everything, refuse chunks that are still being computed, return the generation."""
        with self._lock:
            self._plan = None
            self._generation += 1
            return self._generation
