"""The stream table: every camera stream that the stack knows, declared once.

A stream's name is its topic prefix: `rgb` is published on `rgb/image_raw` and, conditioned, on
`rgb/image`; `wrist/rgb` is the same inside the namespace `wrist`. The order of the table is the
order of the streams everywhere: in masks, in checkpoints, in reports.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

KINDS: tuple[str, ...] = ("rgb", "depth", "thermal", "segmentation")

# Index = value in a segmentation image.
LABELS: tuple[str, ...] = (
    "background",
    "table",
    "arm",
    "gripper",
    "bin",
    "plate",
    "cube",
    "cylinder",
    "brick",
)


class StreamTableError(ValueError):
    """The stream table is wrong; the message names file, key, value and what was expected."""


@dataclass(frozen=True)
class Stream:
    """One camera stream after conditioning.

    Attributes:
        name: topic prefix, unique, for example `wrist/depth`.
        kind: one of `KINDS`.
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
    def period_s(self) -> float:
        return 1.0 / self.rate_hz


@dataclass(frozen=True)
class StreamTable:
    """An ordered, checked set of streams.

    Attributes:
        topics: stream -> topic of its raw images in bags of other stacks, where that is not
            `<name>/image_raw`. No part of a `Stream`, which checkpoints keep.
    """

    streams: tuple[Stream, ...]
    topics: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self.streams)

    def __len__(self) -> int:
        return len(self.streams)

    def __getitem__(self, name: str) -> Stream:
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise StreamTableError(f"unknown stream '{name}'; the table has {', '.join(self.names)}")

    @property
    def derived(self) -> dict[str, tuple[str, ...]]:
        """Stream that is computed from others -> these."""
        return {stream.name: stream.derived_from for stream in self.streams if stream.derived_from}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(stream.name for stream in self.streams)


_FIELDS = {
    "name": str,
    "kind": str,
    "height": int,
    "width": int,
    "rate_hz": (int, float),
    "frame_id": str,
    "derived_from": list,
    "topic": str,
}
_OPTIONAL = ("derived_from", "topic")
_NAMES = {
    str: "a text",
    int: "a whole number",
    (int, float): "a number",
    list: "a list of streams",
}


def load_stream_table(path: str | Path) -> StreamTable:
    """Read and check a stream table from YAML.

    Raises:
        StreamTableError: the file is missing, is not YAML, or holds an unknown, missing or wrong
            value.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise StreamTableError(f"{path}: cannot read the stream table: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise StreamTableError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict) or set(content) != {"streams"}:
        raise StreamTableError(f"{path}: expected one top-level key 'streams'")
    if not isinstance(content["streams"], list) or not content["streams"]:
        raise StreamTableError(f"{path}: 'streams' must be a list with at least one stream")
    parsed = [_parse(path, index, entry) for index, entry in enumerate(content["streams"])]
    streams = tuple(stream for stream, _ in parsed)
    names = [stream.name for stream in streams]
    for stream in streams:
        if names.count(stream.name) > 1:
            raise StreamTableError(f"{path}: stream '{stream.name}' is declared twice")
        for source in stream.derived_from:
            if source == stream.name:
                raise StreamTableError(
                    f"{path}: {stream.name}: derived_from names the stream itself"
                )
            if source not in names:
                raise StreamTableError(
                    f"{path}: {stream.name}: derived_from names '{source}', not in the table"
                )
    return StreamTable(streams, {stream.name: topic for stream, topic in parsed if topic})


def _parse(path: Path, index: int, entry: object) -> tuple[Stream, str]:
    """The stream and its topic in bags of other stacks, "" for ours."""
    where = f"{path}: streams[{index}]"
    if not isinstance(entry, dict):
        raise StreamTableError(f"{where}: expected keys and values, got {entry!r}")
    unknown = set(entry) - set(_FIELDS)
    if unknown:
        raise StreamTableError(
            f"{where}: unknown key '{sorted(unknown)[0]}'; expected {', '.join(_FIELDS)}"
        )
    for key, expected in _FIELDS.items():
        if key not in entry:
            if key in _OPTIONAL:
                continue
            raise StreamTableError(f"{where}: missing key '{key}'")
        if not isinstance(entry[key], expected) or isinstance(entry[key], bool):
            raise StreamTableError(f"{where}: {key} is {entry[key]!r}; expected {_NAMES[expected]}")
    if entry["kind"] not in KINDS:
        raise StreamTableError(f"{where}: kind is '{entry['kind']}'; expected {', '.join(KINDS)}")
    view, slash, last = entry["name"].rpartition("/")
    if last != entry["kind"] or (slash and not view):
        raise StreamTableError(
            f"{where}: name is '{entry['name']}'; "
            f"expected '{entry['kind']}' or '<view>/{entry['kind']}'"
        )
    for key in ("height", "width", "rate_hz"):
        if not 0 < entry[key] < math.inf:
            raise StreamTableError(f"{where}: {key} is {entry[key]}; expected a positive number")
    topic = entry.get("topic", "")
    own = {key: value for key, value in entry.items() if key != "topic"}
    own["derived_from"] = tuple(own.get("derived_from", ()))
    return Stream(**own), topic
