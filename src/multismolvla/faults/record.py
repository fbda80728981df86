"""How soon damaged streams were masked and came back, and how often sound ones were masked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from multismolvla.faults.scenario import Expectations, Scenario, ScheduledFault
from multismolvla.streams import StreamTable


class MaskRecord:
    """Fed with the mask of every control period.

    Args:
        broken: the streams that break at the onset.

    Attributes:
        masked_after_s: broken stream -> time from the onset until it was first masked, None so far
            as it has not been.
    """

    def __init__(self, broken: Sequence[str]) -> None:
        self.masked_after_s: dict[str, float | None] = dict.fromkeys(broken)
        self._sound = self._falsely_masked = 0

    def add(
        self,
        since_s: float,
        available: Mapping[str, bool],
        damaged: Collection[str],
        onset_s: float | None,
    ) -> None:
        """Take in the mask of `since_s` seconds after the instruction.

        Args:
            damaged: streams that are damaged now, themselves or all that they are made from.
        """
        for name, usable in available.items():
            if name not in damaged:
                self._sound += 1
                self._falsely_masked += not usable
            elif not usable and self.masked_after_s.get(name, 0.0) is None:
                self.masked_after_s[name] = round(since_s - onset_s, 3)

    @property
    def false_share(self) -> float:
        """Share of the control periods of sound streams in which these were masked."""
        return self._falsely_masked / self._sound if self._sound else 0.0


# The mask of a stream may change for this long after a fault's end without being a false alarm:
# frames that the fault has delayed are still on their way.
AFTERMATH_S = 1.0


@dataclass
class FaultResult:
    """One fault of one stream and what became of it, in seconds.

    Attributes:
        masked_after_s: from its start until the stream was masked, None for never while it lasted.
        warned_after_s: the same until the stream was degraded or lost.
        recovered_after_s: from its end until the stream was in use to stay; 0 where it always was,
            None where it was not until the next fault or the end of the episode.
    """

    stream: str
    scheduled: ScheduledFault
    masked_after_s: float | None = None
    warned_after_s: float | None = None
    recovered_after_s: float | None = None

    @property
    def expect(self) -> Expectations:
        return self.scheduled.expect


class FaultRecord:
    """Fed with every control period after the instruction.

    Attributes:
        results: one for each fault and stream.
        false_alarms: how often a stream was masked without any fault of it.
        masked: stream -> [from, to] of every time it was masked, seconds after the instruction.
        fastest_rad_s: greatest speed of a joint's goal, what the driver's clamp is about.
    """

    def __init__(self, scenario: Scenario, table: StreamTable) -> None:
        self.results = [
            FaultResult(stream, scheduled)
            for scheduled in scenario.faults
            for stream in scheduled.streams(table)
        ]
        self.false_alarms = 0
        self.fastest_rad_s = 0.0
        self.masked: dict[str, list[list[float]]] = {}
        self._before: Mapping[str, bool] = {}

    def add(
        self,
        since_s: float,
        available: Mapping[str, bool],
        states: Mapping[str, str],
        damaged: Collection[str],
    ) -> None:
        """Take in what holds `since_s` seconds after the instruction.

        Args:
            available: stream -> whether it is in use.
            states: stream -> name of its health's state.
            damaged: the streams that are damaged now, themselves or all that they are made from.
        """
        for name, usable in available.items():
            own = [result for result in self.results if result.stream == name]
            for result in own:
                self._follow(result, since_s, usable, states.get(name, "OK"), own)
            lost = self._before.get(name, True) and not usable
            if lost:
                self.masked.setdefault(name, []).append([since_s, since_s])
            elif not self._before.get(name, True):
                self.masked[name][-1][1] = since_s
            if lost and name not in damaged and not any(_explains(r, since_s) for r in own):
                self.false_alarms += 1
        self._before = dict(available)

    def _follow(
        self,
        result: FaultResult,
        since_s: float,
        usable: bool,
        state: str,
        own: Sequence[FaultResult],
    ) -> None:
        scheduled = result.scheduled
        if since_s < scheduled.start_s:
            return
        end_s = scheduled.end_s
        if end_s is None or since_s < end_s:
            # Of a fault that is there before the instruction, the instruction is the start.
            after_s = round(since_s - max(0.0, scheduled.start_s), 3)
            if result.masked_after_s is None and not usable:
                result.masked_after_s = after_s
            if result.warned_after_s is None and (not usable or state != "OK"):
                result.warned_after_s = after_s
        elif not any(end_s <= other.scheduled.start_s <= since_s for other in own):
            if not usable:
                result.recovered_after_s = None
            elif result.recovered_after_s is None:
                masked_till_end = self._before.get(result.stream, True) is False
                result.recovered_after_s = round(since_s - end_s, 3) if masked_till_end else 0.0


def _explains(result: FaultResult, since_s: float) -> bool:
    end_s = result.scheduled.end_s
    return result.scheduled.start_s <= since_s and (end_s is None or since_s < end_s + AFTERMATH_S)
