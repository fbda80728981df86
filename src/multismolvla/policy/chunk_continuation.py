"""Which rows of the last chunk the next one continues, and how many of them cannot change any more.

    instants      ──┬─────┬─────┬─────┬─────┬─────┬──►
    last chunk      6     7     8     9
    new chunk       0     1     2     3     4     5
                    └─ observed   └─ arrives

Both chunks count rows from their own observation's stamp. The new chunk can change nothing before
it arrives, so its rows until then are held to the last chunk's rows of the same instants (here 0
to 3: what the arm does between two rows depends on both), and `real_time_chunking.py` says how the
others are guided.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from multismolvla.policy.real_time_chunking import RealTimeChunking
from multismolvla.policy.solvers import Velocity

# The slowest of the last inferences is expected next (arXiv 2506.07339, algorithm 1). A row held
# too many costs a little freedom; one held too few is a jump.
REMEMBERED = 5
# Further than any chunk reaches: the paper guides all rows that both chunks have.
WHOLE_OVERLAP = 1_000_000


def rows_from(chunk: Tensor, offset: float) -> Tensor:
    """Rows of a chunk (B, T, D) at `offset`, `offset` + 1, ... up to its last row.

    Linear between rows, as the chunk is executed; (B, 0, D) where the chunk covers none of them.
    """
    if offset < 0.0:
        return chunk[:, :0]
    whole = math.floor(offset)
    share = offset - whole
    rows = chunk[:, whole:]
    return rows[:, :-1].lerp(rows[:, 1:], share) if share else rows


def rows_until(seconds: float, period_s: float) -> int:
    """Rows on which the arm's path up to `seconds` after row 0 depends."""
    return math.ceil(max(0.0, seconds) / period_s) + 1


@dataclass(frozen=True)
class _Chunk:
    stamp_ns: int
    task: str
    actions: Tensor


class ChunkContinuation:
    """The memory that real-time chunking needs between two inferences.

    The order is `begin`, then `end` if the inference gives a chunk. The first chunk is free; so is
    one for another task, for an older observation, or with no instant in common with the last.

    Args:
        period_s: time between two rows, seconds.
        now_ns: the clock of the observations' stamps. With None their age is unknown and counts as
            zero: too few rows are held then, by the time that taking an observation takes.
    """

    def __init__(
        self,
        chunking: RealTimeChunking,
        period_s: float,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        self._chunking = chunking
        self._period_s = period_s
        self._knows_age = now_ns is not None
        self._now_ns = now_ns or time.monotonic_ns
        self._latencies_s: deque[float] = deque(maxlen=REMEMBERED)
        self._last: _Chunk | None = None
        self._started_ns = 0

    def forget(self) -> None:
        """The next chunk continues none. What inferences take is the machine's, and is kept."""
        self._last = None

    def begin(
        self, stamp_ns: int, task: str, in_model_units: Callable[[Tensor], Tensor]
    ) -> Callable[[Velocity], Velocity] | None:
        """Start an inference; return what its velocity is to be guided with, if anything.

        Args:
            in_model_units: the last chunk's rows (B, P, J), in radians, as first rows of the new
                one. What the model's numbers mean may depend on row and state.
        """
        self._started_ns = self._now_ns()
        last = self._last
        if last is None or last.task != task:
            return None
        previous = rows_from(last.actions, (stamp_ns - last.stamp_ns) * 1e-9 / self._period_s)
        if not previous.shape[1]:
            return None
        age_s = (self._started_ns - stamp_ns) * 1e-9 if self._knows_age else 0.0
        delay = rows_until(max(0.0, age_s) + max(self._latencies_s), self._period_s)
        return partial(self._chunking.guide, previous=in_model_units(previous), delay=delay)

    def end(self, stamp_ns: int, task: str, actions: Tensor) -> None:
        """The inference gave `actions` (B, T, J), radians.

        A chunk that is not finite is never executed: the last one runs on and is kept.
        """
        finite = bool(actions.isfinite().all())  # Before the clock is read: waits for a GPU.
        self._latencies_s.append(max(0.0, (self._now_ns() - self._started_ns) * 1e-9))
        if finite:
            # A copy: the caller may write to the chunk.
            self._last = _Chunk(stamp_ns, task, actions.clone())
