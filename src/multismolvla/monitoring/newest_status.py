"""The newest status of policy and driver, while it is valid."""

from __future__ import annotations

from collections.abc import Mapping

# Policy and driver publish at least 5 times a second; after this silence they count as gone.
SILENT_S = 1.0


class NewestStatus:
    """Keeps the newest values of each source; times are of any clock that only rises."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[float, Mapping[str, str]]] = {}

    def take(self, source: str, now_s: float, values: Mapping[str, str]) -> None:
        """Take the newest status of a source."""
        self._values[source] = (now_s, values)

    def newest(self, source: str, now_s: float) -> Mapping[str, str] | None:
        """Its newest status, None while it is silent."""
        if source not in self._values:
            return None
        received_s, values = self._values[source]
        return values if now_s - received_s <= SILENT_S else None
