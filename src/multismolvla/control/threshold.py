"""When to ask for the next chunk.

SmolVLA (arXiv 2506.01844, section 3.3, asynchronous inference) asks when the queue holds less than
a fraction g of a chunk, and shows that nothing runs dry while g is at least the expected latency of
the server over the time of one frame over the chunk's size. Here the latency is measured.

No threshold helps a policy whose chunks span less than twice its latency (plus the age of the
observation): with one call in flight that is how far apart the end of one chunk's observation and
the arrival of the next chunk may lie.
"""

from __future__ import annotations

from multismolvla.control.action_queue import QueueLevel

# The next inference may be slower than those seen: ask half as early again as the rule says. One
# that takes longer still may come too late, once: then it has been seen.
MARGIN = 1.5
# Kept beside that: an observation waits for its set of images (a camera period at 15 Hz), and the
# margin of a fast policy alone is less than a row.
SPARE_S = 0.1
# A slow inference is believed at once and forgotten over about ten faster ones.
FORGETTING = 0.1


def parse_threshold(value: str | float | int) -> float | None:
    """Return the fixed fraction, or None for `auto`.

    Raises:
        ValueError: neither `auto` nor a number in (0, 1].
    """
    if value == "auto":
        return None
    try:
        fraction = float(value)
    except ValueError:
        fraction = -1.0
    if isinstance(value, bool) or not 0.0 < fraction <= 1.0:
        raise ValueError(f"queue_threshold is {value!r}; expected 'auto' or a number in (0, 1]")
    return fraction


class RefillThreshold:
    """The fraction g of a chunk below which the next inference is due.

    Args:
        fixed: a constant g, or None to derive it from the measured latency.
        margin: factor on the measured latency, at least 1.
    """

    def __init__(self, fixed: float | None = None, margin: float = MARGIN) -> None:
        self._fixed = fixed
        self._margin = margin
        self._latency_s = 0.0
        # Below 1 the policy is asked less often, down to what the latency demands.
        self.scale = 1.0

    @property
    def latency_s(self) -> float:
        """Latency to plan with, seconds; 0.0 before the first inference."""
        return self._latency_s

    def measured(self, latency_s: float) -> None:
        """Take in the time from asking for a chunk to having it, seconds."""
        slower = max(0.0, latency_s)
        faded = (1.0 - FORGETTING) * self._latency_s + FORGETTING * slower
        self._latency_s = max(slower, faded)

    def fraction(self, chunk_size: int, period_s: float) -> float:
        """g in [0, 1] for chunks of this size; 1.0 while nothing is known."""
        known = chunk_size > 0 and period_s > 0 and self._latency_s > 0.0
        needed = min(1.0, self._lead_s / period_s / chunk_size) if known else 1.0
        if self._fixed is None:
            return needed
        return min(self._fixed, max(needed, self.scale * self._fixed))

    def due(self, level: QueueLevel) -> bool:
        """True when the queue holds less than g of a chunk: the paper's test, strictly less."""
        if level.actions == 0:
            return True
        g = self.fraction(level.chunk_size, level.period_s)
        return level.actions / level.chunk_size < g

    def must_go(self, level: QueueLevel) -> bool:
        """True when an inference is needed, not merely asked for by a high fixed threshold.

        Without it the queue might be empty before the next one is done.
        """
        return level.actions == 0 or level.seconds <= self._lead_s

    @property
    def _lead_s(self) -> float:
        return self._margin * self._latency_s + SPARE_S
