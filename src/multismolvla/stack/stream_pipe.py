"""What happens to the frames of one stream, from the camera's pixels to a conditioned frame."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from multismolvla.control.load_shedding import CAMERA_RATE, SEGMENTATION_RATE
from multismolvla.modalities.conversion import resize, to_units
from multismolvla.modalities.modality import Counts
from multismolvla.modalities.thresholds import Thresholds
from multismolvla.sensing.health import State, StreamHealth
from multismolvla.sensing.reported_health import ReportedHealth
from multismolvla.streams import Stream


class StreamPipe:
    """Raw pixels to units, to a judgement of the stream's health, to a conditioned frame.

    Times are nanoseconds on one clock. A message that cannot be used is a finding about the stream,
    never an error.

    Args:
        thresholds: of the stream's health.
        counts: what the integers of its camera mean, by default those of its kind.
        health: judges the stream; by default a `StreamHealth` with these thresholds.

    Attributes:
        stream, health: as given.
    """

    def __init__(
        self,
        stream: Stream,
        thresholds: Thresholds,
        counts: Counts | None = None,
        health: StreamHealth | ReportedHealth | None = None,
    ) -> None:
        self.stream = stream
        self.health = health or StreamHealth(stream.kind, stream.rate_hz, thresholds)
        self._modality, self._counts = stream.modality, counts
        # What makes this camera send half as many frames.
        self._halved_by = {CAMERA_RATE}
        if self._modality.labels:
            self._halved_by.add(SEGMENTATION_RATE)
        self._stale_periods = thresholds.stale_periods
        self._known = self._now()

    @property
    def alive(self) -> bool:
        """Whether the stream may be used and is worth waiting for."""
        return self.health.state is not State.LOST

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` is due, unless a frame comes before; None while there is nothing to miss."""
        return self.health.deadline_ns

    def take(
        self, raw: np.ndarray, stamp_ns: int, arrival_ns: int, wait_ns: int = 0
    ) -> np.ndarray | None:
        """Judge a frame; return it conditioned, at the size of the stream table, if it may be used.

        Args:
            raw: the decoded pixels, in counts or in units; see `conversion.to_units`.
            arrival_ns: when it reached this machine.
            wait_ns: how long it has lain here since.
        """
        try:
            frame = to_units(self._modality, raw, self._counts)
        except ValueError as error:
            self.refuse(str(error), arrival_ns, wait_ns)
            return None
        if not self.health.on_frame(frame, stamp_ns, arrival_ns, wait_ns):
            return None
        return resize(self._modality, frame, self.stream.height, self.stream.width)

    def refuse(self, reason: str, arrival_ns: int, wait_ns: int = 0) -> None:
        """Count a message that came and holds no frame."""
        self.health.on_bad_message(reason, arrival_ns, wait_ns)

    def tick(self, now_ns: int, lag_s: float = 0.0, shed: Collection[str] = ()) -> None:
        """Notice silence.

        Args:
            lag_s: how late this machine runs; silence of so much more does not lose the stream.
            shed: the load that is shed. A camera that is to send half as many frames is silent for
                twice as long.
        """
        halved = not self._halved_by.isdisjoint(shed)
        self.health.excuse(lag_s, self._stale_periods if halved else 0.0)
        self.health.tick(now_ns)

    def changed(self) -> bool:
        """Whether state or reasons are others than when this was last called."""
        before, self._known = self._known, self._now()
        return self._known != before

    def _now(self) -> tuple[State, tuple[str, ...]]:
        return self.health.state, self.health.reasons
