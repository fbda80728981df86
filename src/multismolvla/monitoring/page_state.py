"""The state of the browser page, as a function of the nodes' messages and of the time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from multismolvla.monitoring.health_panel import Light, Line, StreamState, as_used, verdict
from multismolvla.monitoring.history import Span, StateHistory, ValueHistory
from multismolvla.monitoring.newest_status import NewestStatus

# How far back timeline and plots go.
SPAN_S = 60.0

USABLE, DEGRADED, MASKED = "usable", "degraded", "masked"
_LIGHTS = {USABLE: Light.GOOD, DEGRADED: Light.WARNING, MASKED: Light.BAD}


class StreamView(NamedTuple):
    """A stream as the page shows it.

    Attributes:
        state: `usable`, `degraded` (usable, with a warning) or `masked`.
        reason: why it is not simply usable.
    """

    name: str
    state: str
    reason: str
    rate_hz: float

    @property
    def masked(self) -> bool:
        return self.state == MASKED

    @property
    def line(self) -> Line:
        """Name, text and colour."""
        text = f"{self.rate_hz:.0f} Hz"
        if self.state != USABLE:
            text = f"{self.state.upper()}: {self.reason}" if self.reason else self.state.upper()
        return Line(self.name, text, _LIGHTS[self.state])


class PageState:
    """Takes messages in, gives the page's contents out; times are of any clock that only rises.

    Args:
        streams: names of the streams, in their order.
    """

    def __init__(self, streams: Iterable[str]) -> None:
        self._health = {name: StreamState("LOST", ("status_late",), 0.0) for name in streams}
        self._timelines = {name: StateHistory(SPAN_S) for name in self._health}
        self._newest_status = NewestStatus()
        self.queue_s = ValueHistory(SPAN_S)
        self.latency_ms = ValueHistory(SPAN_S)
        self._inferences = ""

    def on_policy(self, now_s: float, values: Mapping[str, str]) -> None:
        """Take the values of the policy's status."""
        self._newest_status.take("policy", now_s, values)
        queue_s = _number(values.get("queue_s"))
        if queue_s is not None:
            self.queue_s.add(now_s, queue_s)
        # The latency of the last inference: published ten times a second, but new once for each.
        inferences, latency_ms = values.get("inferences", ""), _number(values.get("latency_ms"))
        if latency_ms is not None and inferences != self._inferences:
            self._inferences = inferences
            self.latency_ms.add(now_s, latency_ms)

    def on_driver(self, now_s: float, values: Mapping[str, str]) -> None:
        """Take the values of the driver's status, with its `level` (a digit) and `message`."""
        self._newest_status.take("driver", now_s, values)

    def on_streams(self, now_s: float, health: Mapping[str, StreamState]) -> None:
        """Take the health of every stream, and note what is masked now."""
        self._health = dict(health)
        for name, view in self.streams(now_s).items():
            self._timelines[name].note(now_s, view.state)

    def policy(self, now_s: float) -> Mapping[str, str] | None:
        """Newest values of the policy, None where it is silent."""
        return self._newest_status.newest("policy", now_s)

    def driver(self, now_s: float) -> Mapping[str, str] | None:
        """Newest values of the driver, None where it is silent."""
        return self._newest_status.newest("driver", now_s)

    def streams(self, now_s: float) -> dict[str, StreamView]:
        """Every stream as it is now: masked if it is lost, or if the policy reports it."""
        return {
            name: StreamView(
                name,
                {"OK": USABLE, "DEGRADED": DEGRADED}.get(stream.state, MASKED),
                ", ".join(stream.reasons),
                stream.rate_hz,
            )
            for name, stream in as_used(self._health, self.policy(now_s)).items()
        }

    def timeline(self, now_s: float) -> dict[str, list[Span]]:
        """What each stream was in the last `SPAN_S`."""
        return {name: history.spans(now_s) for name, history in self._timelines.items()}

    def verdict(self, now_s: float) -> Line:
        """The one thing to know first."""
        policy = self.policy(now_s)
        return verdict(policy, self.driver(now_s), as_used(self._health, policy))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
