"""The health of a stream that is computed from others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from multismolvla.modalities.thresholds import Thresholds
from multismolvla.sensing.health import HealthReport, State, StreamHealth


class DerivedHealth(StreamHealth):
    """Judges a derived stream by its own frames and by the health of its sources.

    It is lost at once when its last source is, and degraded while any source is not OK: what is
    computed from less, or from worse, is worth a warning. Sources start lost.

    Its own silence loses it one period later than a source's would: a source that dies is waited
    for, and that it is dead is known already.
    """

    def __init__(
        self,
        kind: str,
        rate_hz: float,
        sources: Sequence[str],
        thresholds: Thresholds | None = None,
    ) -> None:
        super().__init__(kind, rate_hz, thresholds)
        self._stale_ns += self._period_ns
        self._sources: dict[str, tuple[State, tuple[str, ...]]] = dict.fromkeys(
            sources, (State.LOST, ())
        )

    def set_source(self, source: str, state: State, reasons: tuple[str, ...]) -> None:
        """Set the state of a source."""
        self._sources[source] = (state, reasons)

    @property
    def state(self) -> State:
        if self._all_sources_lost():
            return State.LOST
        return max(self._state, State.DEGRADED) if self._troubled() else self._state

    @property
    def reasons(self) -> tuple[str, ...]:
        if self._state is State.LOST and not self._all_sources_lost():
            return tuple(self._reasons)
        inherited = (reason for reasons in self._troubled().values() for reason in reasons)
        return tuple(dict.fromkeys((*self._reasons, *inherited)))

    def report(self, now_ns: int) -> HealthReport:
        own = super().report(now_ns)
        troubled = self._troubled()
        if not troubled:
            return own
        described = ", ".join(
            f"{source} {self._sources[source][0].name} ({' '.join(reasons) or 'no frame yet'})"
            for source, reasons in troubled.items()
        )
        detail = "; ".join(text for text in (own.detail, f"its sources: {described}") if text)
        return replace(own, state=self.state, reasons=self.reasons, detail=detail)

    def on_frame(self, frame: np.ndarray, stamp_ns: int, receive_ns: int, wait_ns: int = 0) -> bool:
        # A frame may still be on its way when its last source is lost.
        usable = super().on_frame(frame, stamp_ns, receive_ns, wait_ns)
        return usable and not self._all_sources_lost()

    def _silence(self, silence_s: float) -> dict[str, str]:
        if self._all_sources_lost():
            return super()._silence(silence_s)
        # What it is computed from comes: it is this machine that does not get round to it.
        return {"late_here": f"late here: nothing computed for {silence_s:.2f} s"}

    def _troubled(self) -> dict[str, tuple[str, ...]]:
        return {
            source: reasons
            for source, (state, reasons) in self._sources.items()
            if state is not State.OK
        }

    def _all_sources_lost(self) -> bool:
        states = [state for state, _ in self._sources.values()]
        return bool(states) and all(state is State.LOST for state in states)
