"""What was, over the last seconds: states of streams, and values for a plot."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Span(NamedTuple):
    """A time with one state, as seconds before now: `start_s` is the older end."""

    start_s: float
    end_s: float
    state: str


class StateHistory:
    """The states of one stream. Only changes are kept.

    Args:
        span_s: how far back it is of interest, seconds.
    """

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._changes: deque[tuple[float, str]] = deque()

    def note(self, now_s: float, state: str) -> None:
        """Set the value from now on; `now_s` must not go back."""
        if not self._changes or self._changes[-1][1] != state:
            self._changes.append((now_s, state))
        # The state in which the span begins is an older change.
        while len(self._changes) > 1 and self._changes[1][0] <= now_s - self._span_s:
            self._changes.popleft()

    def spans(self, now_s: float) -> list[Span]:
        """Return what was in the last `span_s`, oldest first, without gaps."""
        starts = [at_s for at_s, _ in self._changes]
        ends = [*starts[1:], now_s][: len(starts)]
        spans = [
            Span(min(now_s - at_s, self._span_s), now_s - end_s, state)
            for (at_s, state), end_s in zip(self._changes, ends, strict=True)
        ]
        return [span for span in spans if span.end_s < self._span_s]


class ValueHistory:
    """A measured value.

    Args:
        span_s: how far back it is of interest, seconds.
        most: how many values are kept at most.
    """

    def __init__(self, span_s: float, most: int = 1000) -> None:
        self._span_s = span_s
        self._values: deque[tuple[float, float]] = deque(maxlen=most)

    def add(self, now_s: float, value: float) -> None:
        """Take the value of now; `now_s` must not go back."""
        self._values.append((now_s, value))

    def points(self, now_s: float) -> list[tuple[float, float]]:
        """Return (seconds before now, value) of the last `span_s`, oldest first."""
        while self._values and now_s - self._values[0][0] > self._span_s:
            self._values.popleft()
        return [(now_s - at_s, value) for at_s, value in self._values]
