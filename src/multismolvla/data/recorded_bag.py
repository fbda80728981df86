"""Bags as recorders leave them: finished, or cut off by a crash, `kill -9` or a full disk.

A finished bag has `metadata.yaml` and a summary at the end of each MCAP file, by which readers find
their way. A recording that was cut off has neither; its messages are read from the front, as far as
they are whole.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mcap.records import Channel, Footer, Message, Schema
from mcap.stream_reader import StreamReader
from rosbags.interfaces import Qos
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.metadata import parse_qos

from multismolvla.one_line import one_line

# A record that claims to be longer is no record.
MAX_RECORD_BYTES = 2**30
# Behind the last record.
MAGIC_BYTES = 8
# What `ros2 bag record --compression-mode file` appends to the names of its files.
COMPRESSED = ".zstd"


class BagError(ValueError):
    """A bag cannot be read; one line that begins with its path."""


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag.

    Attributes:
        type_name: such as `sensor_msgs/msg/Image`.
        definition: of the type, as the bag has it.
        qos: profiles that its publishers offered.
    """

    name: str
    type_name: str
    definition: str
    qos: tuple[Qos, ...]


class RecordedBag(ABC):
    """Messages as bytes, in the order in which they were recorded.

    Attributes:
        topics: name -> topic.
        damage: what is missing, one line; empty for a bag that was finished.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: dict[str, BagTopic] = {}
        self.damage = ""

    @abstractmethod
    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, nanoseconds of the recorder's clock, CDR bytes) of the topics named."""


def open_bag(path: str | Path) -> RecordedBag:
    """Open the folder of a bag, or one file of it (.mcap, .db3).

    Raises:
        BagError: there is nothing that can be read.
    """
    path = Path(path)
    if not path.exists():
        raise BagError(f"{path}: there is no such bag")
    files = [path] if path.is_file() else _mcap_files(path)
    finished = path.is_file() or (path / "metadata.yaml").exists()
    if path.is_file() and path.suffix == COMPRESSED:
        finished = False
        if not path.stem.endswith(".mcap"):
            raise BagError(f"{path}: decompress it first: unzstd {path.name}")
    try:
        if finished:
            return _FinishedBag(path)
    # What a damaged bag makes rosbags raise is not one family of errors.
    except Exception as error:
        if path.suffix != ".mcap" and not (path.is_dir() and files):
            raise BagError(f"{path}: cannot read it: {one_line(error)}") from None
    if not files:
        packed = next(iter(sorted(path.glob(f"*{COMPRESSED}"))), None)
        if packed is not None:
            raise BagError(f"{path}: decompress it first: unzstd {packed.name}")
        databases = sorted(path.glob("*.db3"))
        if databases:
            raise BagError(
                f"{path}: has no metadata.yaml; ros2 bag reindex -s sqlite3 {path} makes it anew"
            )
        raise BagError(f"{path}: is not a bag: no metadata.yaml and no .mcap file in it")
    return _CutOffBag(path, files)


class _FinishedBag(RecordedBag):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with Reader(path) as reader:
            for connection in reader.connections:
                self.topics[connection.topic] = BagTopic(
                    connection.topic,
                    connection.msgtype,
                    connection.msgdef.data,
                    tuple(connection.ext.offered_qos_profiles),
                )

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        try:
            with Reader(self.path) as reader:
                chosen = [c for c in reader.connections if c.topic in topics]
                # rosbags would take no connection at all for every connection.
                for connection, stamp_ns, data in reader.messages(chosen) if chosen else ():
                    yield connection.topic, stamp_ns, bytes(data)
        except GeneratorExit:
            raise
        except Exception as error:
            raise BagError(f"{self.path}: cannot read further: {one_line(error)}") from None


class _CutOffBag(RecordedBag):
    def __init__(self, path: Path, files: list[Path]) -> None:
        super().__init__(path)
        self._files = files
        unfinished = [file for file in files if not self._read_topics(file)]
        if not self.topics:
            raise BagError(f"{path}: the recording was cut off before it had a message")
        if unfinished:
            lost = sum(_size(file) - _whole_bytes(file) for file in unfinished)
            self.damage = f"it was cut off: {lost} bytes at its end hold no complete message"

    def _read_topics(self, file: Path) -> bool:
        """Take in what topics there are; return whether the file was finished."""
        schemas: dict[int, Schema] = {}
        record, whole = None, 0
        for record, end in _whole_records(file):
            whole = end
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel) and record.schema_id in schemas:
                schema = schemas[record.schema_id]
                qos = record.metadata.get("offered_qos_profiles", "")
                self.topics[record.topic] = BagTopic(
                    record.topic,
                    schema.name,
                    schema.data.decode(errors="replace"),
                    tuple(parse_qos(qos)) if qos else (),
                )
        return isinstance(record, Footer) and _size(file) >= whole + MAGIC_BYTES

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        for file in self._files:
            names: dict[int, str] = {}
            for record, _ in _whole_records(file):
                if isinstance(record, Channel):
                    names[record.id] = record.topic
                elif isinstance(record, Message) and names.get(record.channel_id) in topics:
                    yield names[record.channel_id], record.log_time, record.data


def _whole_records(file: Path) -> Iterator[tuple[object, int]]:
    """Each record from the front with the number of bytes up to its end, or its chunk's."""
    with _opened(file) as stream:
        records = iter(StreamReader(stream, record_size_limit=MAX_RECORD_BYTES).records)
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            # The end may be anything: half a length, half a chunk, zeros that a file system put.
            except Exception:
                return
            yield record, stream.tell()


def _mcap_files(folder: Path) -> list[Path]:
    """Those of a bag in their order; where one is there both ways, the one that is open."""
    plain = list(folder.glob("*.mcap"))
    packed = [f for f in folder.glob(f"*.mcap{COMPRESSED}") if f.with_suffix("") not in plain]
    return sorted((*plain, *packed), key=_number)


def _opened(file: Path) -> BinaryIO:
    """As it was before rosbag2 compressed it."""
    if file.suffix != COMPRESSED:
        return file.open("rb")
    try:
        # The library by which mcap reads compressed chunks, where mcap has one.
        return importlib.import_module("zstandard").open(file, "rb")
    except ImportError:
        raise BagError(f"{file.parent}: decompress it first: unzstd {file.name}") from None


def _size(file: Path) -> int:
    """Bytes, decompressed."""
    if file.suffix != COMPRESSED:
        return file.stat().st_size
    size = 0
    # A damaged file ends where zstandard raises what it raises.
    with _opened(file) as stream, contextlib.suppress(Exception):
        while block := stream.read(2**20):
            size += len(block)
    return size


def _whole_bytes(file: Path) -> int:
    return max((end for _, end in _whole_records(file)), default=0)


def _number(file: Path) -> tuple[int, str]:
    """`bag_10.mcap` comes after `bag_9.mcap`."""
    found = re.search(r"_(\d+)$", file.name.partition(".mcap")[0])
    return (int(found[1]) if found else -1), file.name
