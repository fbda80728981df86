"""Which streams the policy may use now, and why not the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StreamMask:
    """Availability of every stream of the table, in its order.

    Attributes:
        available: stream name -> True where the stream may be used.
        reasons: stream name -> why it may not be used, "" where it may.
    """

    available: Mapping[str, bool] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def lost_since(self, earlier: StreamMask) -> list[str]:
        """Streams that were available in `earlier` and are not now."""
        return [
            name for name, was in earlier.available.items() if was and not self.available.get(name)
        ]


def stream_mask(
    names: Collection[str],
    statuses: Mapping[str, tuple[str, str]],
    absent: Mapping[str, str],
    set_age_s: float | None,
    max_set_age_s: float,
    lag_s: float = 0.0,
) -> StreamMask:
    """Combine what the sensor nodes say with what has arrived.

    A stream is available only if its status is in time and does not say LOST, and the newest set of
    images has a message of it. A status that says OK cannot make up for an image that is not there,
    nor the other way round.

    Args:
        names: every stream of the table.
        statuses: stream name -> (state, reason); a stream without an entry has no status at all.
        absent: streams that have no message in the newest set -> why, such as `late`.
        set_age_s: age of the newest set, None before the first one.
        max_set_age_s: age from which the newest set counts for nothing.
        lag_s: how late this process runs, which tells a set that is late here from one that was
            never sent.
    """
    reasons = {}
    for name in names:
        state, reason = statuses.get(name, ("LOST", "no status"))
        if state == "LOST":
            reasons[name] = reason or "lost"
        elif set_age_s is None or set_age_s > max_set_age_s:
            late_here = set_age_s is not None and set_age_s - lag_s <= max_set_age_s
            reasons[name] = "late_here" if late_here else "no image set"
        elif name in absent:
            reasons[name] = f"image {absent[name]}"
        else:
            reasons[name] = ""
    return StreamMask({name: not reasons[name] for name in names}, reasons)
