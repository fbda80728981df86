"""The newest status of policy and driver, while it is valid."""

from __future__ import annotations

from collections.abc import Mapping

# Policy and driver speak at least 5 times a second; after as much silence they count as gone.
SILENT_S = 1.0


class LastSaid:
    """Keeps the newest values of each speaker; times are of any clock that only rises."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, Mapping[str, str]]] = {}

    def take(self, speaker: str, now_s: float, values: Mapping[str, str]) -> None:
        """Take the newest status of a source."""
        self._said[speaker] = (now_s, values)

    def newest(self, speaker: str, now_s: float) -> Mapping[str, str] | None:
        """Its newest status, None while it is silent."""
        if speaker not in self._said:
            return None
        heard_s, values = self._said[speaker]
        return values if now_s - heard_s <= SILENT_S else None
