"""When the machine cannot keep up: say so, do less in a stated order, and take it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

# What is given up, one after another, and taken back in the reverse order. The arm's control loop
# is not among them.
LADDER: tuple[str, ...] = ("segmentation rate", "pose check", "replanning rate", "camera rate")
SEGMENTATION_RATE, POSE_CHECK, REPLANNING_RATE, CAMERA_RATE = LADDER

# A camera period and a half at 15 Hz: beyond that, frames are skipped and sets come late.
OVERLOADED_S = 0.1
# Below this there is room again.
ROOM_S = 0.05
# Pause between two steps down, and time with room before a step is taken back.
SHED_NS = 1_500_000_000
RECOVER_NS = 4_000_000_000


@dataclass(frozen=True)
class Load:
    """How loaded the machine is.

    Attributes:
        overloaded: the stack runs late.
        reason: what a person should read, such as 'overloaded: policy_node runs 180 ms late'; ""
            when it is not overloaded.
        lag_s: how late the latest node runs.
        shed: what is given up now, a beginning of `LADDER`.
    """

    overloaded: bool = False
    reason: str = ""
    lag_s: float = 0.0
    shed: tuple[str, ...] = ()


class LoadShedding:
    """Decides from the lags of all nodes; on an explicit monotonic clock, without a thread."""

    def __init__(self) -> None:
        self.load = Load()
        self._last_late_ns = 0
        self._next_step_ns = 0

    def tick(self, now_ns: int, lags_s: Mapping[str, float]) -> Load:
        """Take in how late each node runs now, and return what follows.

        Args:
            now_ns: monotonic, nanoseconds.
            lags_s: node -> its worst lag of the last second, seconds.
        """
        node = max(lags_s, key=lambda name: lags_s[name], default="")
        lag_s = lags_s.get(node, 0.0)
        before = self.load
        steps = len(before.shed)
        if lag_s >= ROOM_S:
            self._last_late_ns = now_ns
        if lag_s >= OVERLOADED_S:
            if not before.overloaded:
                # A step at once would shed for every hiccup; only what lasts is worth it.
                self._next_step_ns = now_ns + SHED_NS
            elif now_ns >= self._next_step_ns and steps < len(LADDER):
                steps += 1
                self._next_step_ns = now_ns + SHED_NS
            reason = f"overloaded: {node} runs {lag_s * 1e3:.0f} ms late"
            self.load = Load(True, reason, lag_s, LADDER[:steps])
        elif before.overloaded and now_ns >= self._last_late_ns + RECOVER_NS:
            self._last_late_ns = now_ns
            if steps:
                self.load = Load(True, before.reason, lag_s, LADDER[: steps - 1])
            else:
                self.load = Load(lag_s=lag_s)
        else:
            self.load = replace(before, lag_s=lag_s)
        return self.load
