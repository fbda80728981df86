"""The stream table: every camera stream that the stack knows, declared once.

A stream's name is its topic prefix: `rgb` is published on `rgb/image_raw` and, conditioned, on
`rgb/image`; `wrist/rgb` is the same inside the namespace `wrist`. The order of the table is the
order of the streams everywhere: in masks, in checkpoints, in reports.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from multismolvla.checked_file import load_checked
from multismolvla.modalities.modality import Counts, Modality
from multismolvla.modalities.registry import find_modality
from multismolvla.setting import reject_unknown_keys, settings_of, with_values


class StreamTableError(ValueError):
    """The stream table is wrong; the message names file, key, value and what was expected."""


@dataclass(frozen=True)
class Stream:
    """One camera stream after conditioning.

    Attributes:
        name: topic prefix, unique, for example `wrist/depth`.
        kind: of its frames: the name of a modality.
        height, width: size of the conditioned image, pixels.
        rate_hz: nominal frame rate.
        frame_id: optical frame of the camera (ends in `_optical_frame`).
        derived_from: streams this one is computed from; it is healthy only while one of them is.
    """

    name: str
    kind: str
    height: int
    width: int
    rate_hz: float
    frame_id: str
    derived_from: tuple[str, ...] = ()

    @property
    def view(self) -> str:
        """Namespace of the camera: `""` for the top camera, `wrist` for the wrist camera."""
        return self.name.rpartition("/")[0]

    @property
    def modality(self) -> Modality:
        """What its kind of image is; raises ModalityError for a kind that nobody knows."""
        return find_modality(self.kind)

    @property
    def period_s(self) -> float:
        return 1.0 / self.rate_hz


@dataclass(frozen=True)
class StreamTable:
    """An ordered, checked set of streams.

    Attributes:
        topics: stream -> topic of its raw images in bags of other stacks, where that is not
            `<name>/image_raw`. No part of a `Stream`, which checkpoints keep.
        cameras: stream -> what its camera's numbers mean, where that is not what they mean of
            others of its kind: settings of `Counts` by key. No part of a `Stream` either.
    """

    streams: tuple[Stream, ...]
    topics: Mapping[str, str] = field(default_factory=dict, hash=False)
    cameras: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self.streams)

    def __len__(self) -> int:
        return len(self.streams)

    def __getitem__(self, name: str) -> Stream:
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise StreamTableError(f"unknown stream '{name}'; the table has {', '.join(self.names)}")

    def counts(self, name: str, others: Counts | None = None) -> Counts:
        """What the numbers of a stream's camera mean.

        Args:
            others: of cameras of that kind, where the table says nothing; None for the defaults.
        """
        return with_values(others or self[name].modality.counts, self.cameras.get(name, {}))

    @property
    def derived(self) -> dict[str, tuple[str, ...]]:
        """Stream that is computed from others -> these."""
        return {stream.name: stream.derived_from for stream in self.streams if stream.derived_from}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(stream.name for stream in self.streams)


@dataclass(frozen=True)
class _Entry(Stream):
    """A stream as the file has it, with the topic of bags of other stacks and its camera."""

    topic: str = ""
    camera: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = find_modality(self.kind).counts
        try:
            reject_unknown_keys(self.camera, settings_of(counts))
            with_values(counts, self.camera)
        except ValueError as error:
            raise ValueError(f"camera: {error}") from None
        view, slash, last = self.name.rpartition("/")
        if last != self.kind or (slash and not view):
            raise ValueError(
                f"name is '{self.name}'; expected '{self.kind}' or '<view>/{self.kind}'"
            )
        for key in ("height", "width", "rate_hz"):
            if not 0 < getattr(self, key) < math.inf:
                raise ValueError(f"{key} is {getattr(self, key)}; expected a positive number")


@dataclass(frozen=True)
class _File:
    streams: tuple[_Entry, ...]

    def __post_init__(self) -> None:
        if not self.streams:
            raise ValueError("streams is empty; expected at least one stream")
        names = [stream.name for stream in self.streams]
        for stream in self.streams:
            if names.count(stream.name) > 1:
                raise ValueError(f"stream '{stream.name}' is declared twice")
            for source in stream.derived_from:
                if source == stream.name:
                    raise ValueError(f"{stream.name}: derived_from names the stream itself")
                if source not in names:
                    raise ValueError(
                        f"{stream.name}: derived_from names '{source}', not in the table"
                    )


def load_stream_table(path: str | Path) -> StreamTable:
    """Read and check a stream table from YAML.

    Raises:
        StreamTableError: the file is missing, is not YAML, or holds an unknown, missing or wrong
            value.
    """
    entries = load_checked(Path(path), _File, StreamTableError, "the stream table").streams
    streams = []
    for entry in entries:
        values = {item.name: getattr(entry, item.name) for item in fields(Stream)}
        streams.append(Stream(**values))
    topics = {entry.name: entry.topic for entry in entries if entry.topic}
    cameras = {entry.name: entry.camera for entry in entries if entry.camera}
    return StreamTable(tuple(streams), topics, cameras)
