"""When the machine cannot keep up: say so, do less in a stated order, and take it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
# A node that has not reported for so long is not late but gone.
FORGET_NS = 2_000_000_000


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

    @property
    def sentence(self) -> str:
        """The same for a person."""
        if not self.overloaded:
            return "the machine keeps up"
        reduced = f"; reduced: {', '.join(self.shed)}" if self.shed else ""
        return f"{self.reason}{reduced}"


class LoadShedding:
    """Decides from the lags of all nodes; on an explicit monotonic clock, without a thread.

    Args:
        on_event: gets (severity, text) when an overload begins, goes up a step, or ends.
    """

    def __init__(self, on_event: Callable[[str, str], None] = lambda severity, text: None) -> None:
        self.load = Load()
        self._on_event = on_event
        self._reported: dict[str, tuple[int, float]] = {}
        self._last_late_ns = 0
        self._next_step_ns = 0

    def report(self, node: str, now_ns: int, lag_s: float) -> None:
        """Take in what a node reports of its own lag; it counts until it is too old."""
        self._reported[node] = now_ns, lag_s

    def tick(self, now_ns: int, lags_s: Mapping[str, float]) -> Load:
        """Take in how late each node runs now, and return what follows.

        Args:
            now_ns: monotonic, nanoseconds.
            lags_s: node -> its worst lag of the last second, seconds; beside what was reported.
        """
        since_ns = now_ns - FORGET_NS
        reported = {node: lag for node, (at_ns, lag) in self._reported.items() if at_ns > since_ns}
        before, load = self.load, self._decide(now_ns, {**lags_s, **reported})
        if len(load.shed) > len(before.shed):
            self._on_event("warning", load.sentence)
        elif load.overloaded and not before.overloaded:
            self._on_event("warning", load.reason)
        elif before.overloaded and not load.overloaded:
            self._on_event("info", "the machine keeps up again")
        return load

    def _decide(self, now_ns: int, lags_s: Mapping[str, float]) -> Load:
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
