"""The health of a stream as its node reports it: live from a topic, later from a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multismolvla.sensing.health import State

# A node reports a change at once; this period only shows that the node is there. A stream without
# images is masked before its status is late.
STATUS_PERIOD_S = 0.6
# Three reports in a row must be missing before silence counts as the death of the node.
LATE_S = 3 * STATUS_PERIOD_S


@dataclass(frozen=True)
class StreamStatus:
    """What is known of one stream on the receiving side.

    Attributes:
        reasons: health reasons; `status_late` where the status itself does not come.
        lag_s: how late the node of the stream runs, seconds.
    """

    state: State = State.LOST
    reasons: tuple[str, ...] = ("status_late",)
    rate_hz: float = 0.0
    age_s: float = float("inf")
    frames: int = 0
    lag_s: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether the stream may be used and is worth waiting for."""
        return self.state is not State.LOST


def parse_status(values: Mapping[str, str]) -> StreamStatus:
    """Read the values of a status message.

    Raises:
        ValueError: they are not those of a stream.
    """
    try:
        return StreamStatus(
            state=State[values["state"]],
            reasons=tuple(reason for reason in values["reason"].split(",") if reason),
            rate_hz=float(values["rate_hz"]),
            age_s=float(values["age_s"]),
            frames=int(values["frames"]),
            # Recordings from before it was measured have none.
            lag_s=float(values.get("lag_ms", "0")) * 1e-3,
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f"not the status of a stream: {type(error).__name__}: {error}") from None


class ReportedHealth:
    """The newest status of one stream; one that stays away counts as a lost stream.

    Frames of the stream were judged by its node: this takes the place of a `StreamHealth` where
    conditioned frames are taken in.

    Args:
        late_s: silence after which a status counts as late, seconds.

    Attributes:
        status: the newest; lost with `status_late` before the first.
    """

    def __init__(self, late_s: float = LATE_S) -> None:
        self._late_ns = round(late_s * 1e9)
        self._look_ns = self._late_ns // 4
        self.status = StreamStatus()
        self._received_ns: int | None = None
        # When silence was first noticed. What came while this process did not run is taken before
        # the second look.
        self._suspected_ns: int | None = None

    @property
    def state(self) -> State:
        return self.status.state

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.status.reasons

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` is due, unless a status comes before; None while there is none to miss."""
        if self._received_ns is None:
            return None
        if self._suspected_ns is not None:
            return self._suspected_ns + self._look_ns
        return self._received_ns + self._late_ns + 1

    def on_status(self, status: StreamStatus, now_ns: int) -> None:
        """Take in what the node reports."""
        self.status = status
        self._received_ns, self._suspected_ns = now_ns, None

    def excuse(self, lag_s: float, periods: float = 0.0) -> None:
        """The node has excused what it reports."""

    def on_frame(self, frame: np.ndarray, stamp_ns: int, receive_ns: int, wait_ns: int = 0) -> bool:
        """The node passes no frame on that may not be used."""
        return True

    def on_bad_message(self, detail: str, receive_ns: int, wait_ns: int = 0) -> None:
        """Its node reports when images stay away."""

    def tick(self, now_ns: int) -> None:
        """Notice silence; the second look at it loses the stream."""
        if self._received_ns is None:
            return
        if now_ns < self._received_ns:  # The clock was set back.
            self._received_ns, self._suspected_ns = now_ns, None
        elif now_ns - self._received_ns > self._late_ns:
            if self._suspected_ns is None:
                self._suspected_ns = now_ns
            elif now_ns > self._suspected_ns:
                age_s = self.status.age_s + self._late_ns * 1e-9
                self.status = StreamStatus(age_s=age_s, frames=self.status.frames)
                self._received_ns = self._suspected_ns = None
