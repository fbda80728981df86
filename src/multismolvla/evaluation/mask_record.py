"""How soon damaged streams were masked, and how often sound ones were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class MaskRecord:
    """Fed with the mask of every control period.

    Args:
        damaged: the streams that are damaged from the onset on.

    Attributes:
        masked_after_s: damaged stream -> time from the onset until it was first masked, None so far
            as it has not been.
    """

    def __init__(self, damaged: Sequence[str]) -> None:
        self.masked_after_s: dict[str, float | None] = dict.fromkeys(damaged)
        self._sound = self._falsely_masked = 0

    def add(self, since_s: float, available: Mapping[str, bool], onset_s: float | None) -> None:
        """Take in the mask of `since_s` seconds after the instruction."""
        for name, usable in available.items():
            damaged = name in self.masked_after_s and since_s >= onset_s
            if not damaged:
                self._sound += 1
                self._falsely_masked += not usable
            elif not usable and self.masked_after_s[name] is None:
                self.masked_after_s[name] = round(since_s - onset_s, 3)

    @property
    def false_share(self) -> float:
        """Share of the control periods of sound streams in which these were masked."""
        return self._falsely_masked / self._sound if self._sound else 0.0
