"""The segmentation of one view: what is labelled, from which of its streams, and when."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from multismolvla.modalities.conversion import resize
from multismolvla.modalities.registry import find_modality
from multismolvla.modalities.thresholds import Thresholds
from multismolvla.sensing.derived_health import DerivedHealth
from multismolvla.sensing.health import State
from multismolvla.sensing.synchronizer import SynchronizedSet, Synchronizer
from multismolvla.stack.settings import LabellerSettings
from multismolvla.streams import Stream, StreamTable


class Segmenter(Protocol):
    """Labels frames by kind; see `segmentation.predictor`."""

    inputs: tuple[str, ...]

    def predict(self, frames: Mapping[str, np.ndarray | None]) -> np.ndarray: ...


@functools.cache
def load_network(model: str = "") -> Segmenter:
    """The network of `LabellerSettings.model`, on one thread, with the same labels everywhere.

    Raises:
        WeightsError: there is no such world or file, or it is none of this network.
    """
    # Imports torch, which takes seconds that recorded labels need not wait.
    from multismolvla.segmentation.predictor import Segmenter as Network
    from multismolvla.segmentation.weights import find_network

    return Network(find_network(model), threads=1)


@dataclass(frozen=True)
class Instant:
    """What is labelled at once.

    Attributes:
        stamp_ns: of the labels, which is that of the reference stream.
        frames: kind -> conditioned frame at the size of the labels; kinds without one are left out.
        origin: what came with the reference stream's frame.
    """

    stamp_ns: int
    frames: Mapping[str, np.ndarray]
    origin: Any


def label_sources(stream: Stream, inputs: Collection[str], table: StreamTable) -> dict[str, str]:
    """The streams that labels can be made from -> their kinds, in the order of the derivation.

    Args:
        inputs: the kinds that the segmenter takes.

    Raises:
        ValueError: the table has none of them; one line.
    """
    kinds = {name: name.rpartition("/")[2] for name in stream.derived_from if name in table.names}
    sources = {name: kind for name, kind in kinds.items() if kind in inputs}
    if not sources:
        raise ValueError(
            f"stream '{stream.name}' cannot be labelled: it is derived from "
            f"{', '.join(stream.derived_from) or 'nothing'}; expected one of {', '.join(inputs)} "
            "in the stream table"
        )
    return sources


class Labeller:
    """Gathers conditioned frames of a view's streams to instants that a segmenter can label.

    Every method that takes a time returns the instants that it completed.

    Args:
        stream: of the labels.
        sources: stream -> kind, see `label_sources`; all start lost.

    Attributes:
        health: of the labels, which inherits that of the sources.
    """

    def __init__(
        self,
        stream: Stream,
        sources: Mapping[str, str],
        settings: LabellerSettings,
        thresholds: Thresholds,
    ) -> None:
        self.sources = dict(sources)
        self._modalities = {kind: find_modality(kind) for kind in sources.values()}
        self.health = DerivedHealth(stream.kind, stream.rate_hz, list(sources), thresholds)
        self._size = stream.height, stream.width
        self._synchronizer = Synchronizer(
            list(sources), round(settings.slop_s * 1e9), round(settings.max_wait_s * 1e9)
        )
        for source in sources:
            self._synchronizer.set_alive(source, False, 0)

    @property
    def deadline_ns(self) -> int | None:
        """When `tick` is due; None while no source is waited for."""
        return self._synchronizer.deadline_ns

    def add(
        self, source: str, stamp_ns: int, frame: np.ndarray, now_ns: int, origin: Any = None
    ) -> list[Instant]:
        """Take a conditioned frame of a source, and what came with it."""
        taken = frame, origin
        return self._instants(self._synchronizer.add(source, stamp_ns, taken, now_ns))

    def set_source(
        self, source: str, state: State, reasons: tuple[str, ...], now_ns: int
    ) -> list[Instant]:
        """Take in how a source is now."""
        self.health.set_source(source, state, reasons)
        alive = state is not State.LOST
        return self._instants(self._synchronizer.set_alive(source, alive, now_ns))

    def tick(self, now_ns: int) -> list[Instant]:
        """Give up waiting for a source where it is time."""
        return self._instants(self._synchronizer.tick(now_ns))

    def relax(self, lag_s: float, window_s: float) -> None:
        """Do with less where the machine runs late; see `Synchronizer.relax`."""
        self._synchronizer.relax(lag_s, window_s)

    def _instants(self, sets: list[SynchronizedSet]) -> list[Instant]:
        made = []
        for taken in sets:
            frames = {}
            for source, entry in taken.messages.items():
                if entry is not None:
                    kind = self.sources[source]
                    frames[kind] = resize(self._modalities[kind], entry[0], *self._size)
            origin = taken.messages[taken.reference][1]
            made.append(Instant(taken.stamp_ns, frames, origin))
        return made
