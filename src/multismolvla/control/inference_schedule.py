"""Deciding when an inference starts: one at a time, early enough, again after a failure."""

from __future__ import annotations

from multismolvla.control.action_queue import QueueLevel
from multismolvla.control.observation_filter import ObservationFilter
from multismolvla.control.threshold import RefillThreshold
from multismolvla.interfaces import Observation

# A policy that fails at once is asked again at this pace, not in a busy loop.
RETRY_NS = 200_000_000
# About one camera period: what the filter left out may look different then.
RECHECK_NS = 60_000_000


class InferenceSchedule:
    """Holds no thread and no queue: the owner asks, infers and reports back.

    The order is `due` (cheap, before any image is converted), `started`, `accepts` (with the
    observation), then one of `succeeded`, `failed`, `declined` and `dropped`. Nothing that happens
    in an inference can end the flow: after a failure the next one is due again.

    Two threads share it without a lock: one asks (`due`, `started`, `refresh`, `reset`), the other
    infers and reports. What belongs to an inference is the second one's until `in_flight` falls,
    which is therefore the last thing that a report does.
    """

    def __init__(self, threshold: RefillThreshold, observation_filter: ObservationFilter) -> None:
        self._threshold = threshold
        self._filter = observation_filter
        self._in_flight = False
        self._refresh = False
        self._refreshing = False
        self._started_ns = 0
        self._not_before_ns: int | None = None

    @property
    def in_flight(self) -> bool:
        """Whether an inference has started and not been reported back."""
        return self._in_flight

    def due(self, now_ns: int, level: QueueLevel) -> bool:
        """True when the next observation should be taken."""
        if self._in_flight:
            return False
        if self._not_before_ns is not None and now_ns < self._not_before_ns:
            return False
        return self._refresh or self._threshold.due(level)

    def accepts(self, observation: Observation, level: QueueLevel) -> bool:
        """True when this observation is worth an inference."""
        must_go = self._refreshing or self._threshold.must_go(level)
        return self._filter.is_new(observation, must_go=must_go)

    def refresh(self) -> None:
        """Ask for an inference however full the queue is: what it was based on has changed."""
        self._refresh = True

    def started(self, now_ns: int) -> None:
        """An observation is being taken; the latency counts from here."""
        self._in_flight = True
        self._refreshing, self._refresh = self._refresh, False
        self._started_ns = now_ns

    def succeeded(self, now_ns: int, observation: Observation) -> float:
        """The chunk is merged; return the latency of this inference, seconds."""
        self._not_before_ns = None
        latency_s = (now_ns - self._started_ns) * 1e-9
        self._threshold.measured(latency_s)
        self._filter.processed(observation)
        self._in_flight = False
        return latency_s

    def failed(self, now_ns: int) -> None:
        """The inference gave nothing usable; the next one may start after a short pause."""
        self._not_before_ns = now_ns + RETRY_NS
        self._in_flight = False

    def declined(self, now_ns: int) -> None:
        """`accepts` said no; the next observation may be taken a camera period later."""
        self._not_before_ns = now_ns + RECHECK_NS
        self._in_flight = False

    def dropped(self) -> None:
        """The answer came for a task or a time that is over: neither a success nor a failure."""
        self._in_flight = False

    def reset(self) -> None:
        """Forget the last observation and any pause: new task, or the clock jumped back.

        An inference in flight stays in flight until it is reported back.
        """
        self._filter.reset()
        self._refresh = False
        self._not_before_ns = None
