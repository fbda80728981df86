"""The segmentation of one view without ROS: labels from whichever of its streams are healthy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from multismolvla.sensing.conditioning import resize
from multismolvla.sensing.derived_health import DerivedHealth
from multismolvla.sensing.health import State
from multismolvla.sensing.synchronizer import SynchronizedSet, Synchronizer
from multismolvla.streams import Stream, StreamTable

# As config/segmentation_node.yaml has them.
SLOP_S, MAX_WAIT_S = 0.02, 0.03
# From the images of an instant to its labels: about what the network takes on one core.
LABELLING_NS = 25_000_000

# (stamp of the images, when the labels are there, labels)
Labels = tuple[int, int, np.ndarray]


class Segmenter(Protocol):
    """Labels frames by kind; see `segmentation.predictor`."""

    inputs: tuple[str, ...]

    def predict(self, frames: Mapping[str, np.ndarray | None]) -> np.ndarray: ...


class Labeller:
    """Takes conditioned frames of a view's streams, as `segmentation_node` does.

    Attributes:
        health: of the labels, which inherits that of the sources.
    """

    def __init__(self, stream: Stream, table: StreamTable, segmenter: Segmenter) -> None:
        """Make a labeller for a derived stream.

        Raises:
            ValueError: the table has none of the streams that it can be derived from.
        """
        self._stream = stream
        self._segmenter = segmenter
        self._kinds = {
            name: name.rpartition("/")[2]
            for name in stream.derived_from
            if name in table.names and name.rpartition("/")[2] in segmenter.inputs
        }
        if not self._kinds:
            raise ValueError(
                f"stream '{stream.name}' cannot be labelled: none of "
                f"{', '.join(stream.derived_from) or 'its sources'} is there"
            )
        self.health = DerivedHealth(stream.kind, stream.rate_hz, list(self._kinds))
        self._synchronizer = Synchronizer(
            list(self._kinds), round(SLOP_S * 1e9), round(MAX_WAIT_S * 1e9)
        )
        for name in self._kinds:
            self._synchronizer.set_alive(name, False, 0)

    @property
    def name(self) -> str:
        """The stream of the labels."""
        return self._stream.name

    @property
    def sources(self) -> tuple[str, ...]:
        """The streams that labels are made from."""
        return tuple(self._kinds)

    def add(self, name: str, stamp_ns: int, frame: np.ndarray, now_ns: int) -> list[Labels]:
        """Take a conditioned frame of a source."""
        return self._label(self._synchronizer.add(name, stamp_ns, frame, now_ns), now_ns)

    def follow(
        self, name: str, state: State, reasons: tuple[str, ...], now_ns: int
    ) -> list[Labels]:
        """Tell how a source is now."""
        self.health.set_source(name, state, reasons)
        alive = state is not State.LOST
        return self._label(self._synchronizer.set_alive(name, alive, now_ns), now_ns)

    def tick(self, now_ns: int) -> list[Labels]:
        """Give up waiting for a source where it is time."""
        deadline_ns = self._synchronizer.deadline_ns
        if deadline_ns is None or now_ns < deadline_ns:
            return []
        return self._label(self._synchronizer.tick(now_ns), now_ns)

    def _label(self, sets: list[SynchronizedSet], now_ns: int) -> list[Labels]:
        made = []
        for images in sets:
            frames = {
                self._kinds[name]: resize(
                    self._kinds[name], frame, self._stream.height, self._stream.width
                )
                for name, frame in images.messages.items()
                if frame is not None
            }
            labels = self._segmenter.predict(frames)
            made.append((images.stamp_ns, now_ns + LABELLING_NS, labels))
        return made
