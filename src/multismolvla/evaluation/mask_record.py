"""How soon damaged streams were masked, and how often sound ones were."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


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
