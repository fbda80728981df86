"""Whether enough streams are left to act on; with too few the arm holds still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from multismolvla.streams import KINDS, StreamTable


@dataclass(frozen=True)
class GateDecision:
    """What the policy may do now.

    Attributes:
        go: False means that the arm must hold.
        reason: one sentence for the person at the robot; empty when `go`.
    """

    go: bool
    reason: str = ""


class StreamGate:
    """The minimum of streams that a policy needs.

    Args:
        table: the streams and their kinds.
        min_visual_streams: streams that must be available; 0 never holds, for a policy that does
            not look.
        kinds: the kinds that count, for a policy that reads only some of them.

    Raises:
        ValueError: a kind is unknown, or the table has too few streams to ever let the arm move.
    """

    def __init__(
        self, table: StreamTable, min_visual_streams: int, kinds: tuple[str, ...] = KINDS
    ) -> None:
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"kinds has '{kind}'; expected some of {', '.join(KINDS)}")
        self._names = tuple(stream.name for stream in table if stream.kind in kinds)
        if not 0 <= min_visual_streams <= len(self._names):
            raise ValueError(
                f"min_visual_streams is {min_visual_streams}; expected 0 to {len(self._names)}, "
                f"the number of streams of kind {', '.join(kinds)} in the stream table"
            )
        self._minimum = min_visual_streams

    def decide(self, mask: Mapping[str, bool]) -> GateDecision:
        """Decide from the mask (stream name -> may be used); a stream it lacks counts as lost."""
        left = [name for name in self._names if mask.get(name, False)]
        if len(left) >= self._minimum:
            return GateDecision(True)
        which = f" ({', '.join(left)})" if left else ""
        return GateDecision(
            False,
            f"holding: {len(left)} of {len(self._names)} streams left{which}, "
            f"at least {self._minimum} needed",
        )
