"""What the arm is told at each tick of the control loop, and what it is told when there is nothing.

Three situations, in order of precedence:
- a hold is asked for (no task, too few streams, ...): the queue is cleared, nothing is executed;
- the queue has a target for now: it is executed, with a few points of look-ahead;
- the queue has nothing: the arm holds until the next chunk. After the first chunk of a task this is
  a starved tick, and counted.

Holding repeats the last setpoint, as a single point, for a short time: that ends the look-ahead the
driver already has, at the pose the arm was sent to. Then nothing is said and the driver's own
stale-command hold takes over, so that a hold never fights a hand, a stop or another commander later
on. Before anything was sent there is nothing to repeat, and nothing is sent: never zeros.
"""

from __future__ import annotations

import numpy as np

from multismolvla.control.action_queue import ActionQueue

# Long enough for one of the repeated setpoints to get through to the driver on a loaded machine.
HOLD_REPEAT_NS = 200_000_000
# A clock may be corrected by a little; a larger step back is a restarted simulation or a bag.
CLOCK_JUMP_NS = 50_000_000


class Playback:
    """Reads the queue once per tick on an explicit clock.

    Args:
        look_ahead_points: points per tick including the one for now.
        step_ns: time between them, nanoseconds.
    """

    def __init__(self, queue: ActionQueue, look_ahead_points: int, step_ns: int) -> None:
        self._queue = queue
        self._points = look_ahead_points
        self._step_ns = step_ns
        self._now_ns: int | None = None
        self._last: np.ndarray | None = None
        self._last_ns = 0
        self._had_chunk = False
        self._held = False
        self.holding = True
        self.starved_ticks = 0

    @property
    def had_chunk(self) -> bool:
        """True once a chunk of this task has been executed."""
        return self._had_chunk

    def clock_jumped_back(self, now_ns: int) -> bool:
        """True if the clock has been set back since the last tick; `restart` then."""
        return self._now_ns is not None and now_ns < self._now_ns - CLOCK_JUMP_NS

    def restart(self, now_ns: int) -> None:
        """Drop what is queued: another task, or a clock set back. The next chunk is a first."""
        self._queue.clear()
        self._had_chunk = False
        if self._now_ns is not None and self._now_ns - self._last_ns <= HOLD_REPEAT_NS:
            self._last_ns = now_ns
        else:
            self._last = None
        self._now_ns = now_ns

    def tick(self, now_ns: int, *, hold: bool) -> np.ndarray | None:
        """(N, J) targets for now, now + step, ... with N >= 1, or None when nothing is to be said.

        Args:
            hold: True if nothing may be executed now.
        """
        if self._now_ns is not None:
            now_ns = max(now_ns, self._now_ns)
        self._now_ns = now_ns
        if hold and not self._held:
            # Also refuses the chunk that may be on its way: it answers what was seen before.
            self._queue.clear()
            self._had_chunk = False
        self._held = hold
        targets = None if hold else self._queue.look_ahead(now_ns, self._points, self._step_ns)
        self.holding = targets is None
        if targets is not None:
            self._had_chunk = True
            self._last, self._last_ns = targets[0], now_ns
            return targets
        if self._had_chunk:
            self.starved_ticks += 1
        if self._last is None or now_ns - self._last_ns > HOLD_REPEAT_NS:
            return None
        return self._last[None]
