"""A recorded bag as the stack would meet it: what came when, by stream, on one clock."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from multismolvla.arm import JOINT_NAMES
from multismolvla.data import bag_messages as messages
from multismolvla.data.recorded_bag import BagError, RecordedBag
from multismolvla.sensing.conditioning import to_units
from multismolvla.sensing.corruptions.fault import JOINT_STATES
from multismolvla.streams import StreamTable

TASK, COMMAND, OBJECTS = "task", "joint_trajectory", "ground_truth/objects"
# What a bag has beside images, by the name that `--topics` knows it by.
OTHERS = {
    JOINT_STATES: messages.JOINT_STATE,
    TASK: messages.STRING,
    COMMAND: messages.TRAJECTORY,
    OBJECTS: messages.MARKERS,
}
IMAGE_TYPES = (messages.IMAGE, messages.COMPRESSED_IMAGE)
# Recorders note when a message came, on the system's clock. Stamps that differ by more than this
# come from another one: a simulation's, or that of a bag that was played.
SAME_CLOCK_NS = 500_000_000
# How many images tell how far apart the two clocks are.
CLOCK_SAMPLE = 50


@dataclass(frozen=True)
class Event:
    """Something that came.

    Attributes:
        now_ns: when, on the clock of the stamps.
        source: a stream of the table or a name of `OTHERS`.
        stamp_ns: what the message says; of one without a stamp `now_ns`.
        value: a frame in SI units; joint positions (6,); the instruction; object -> pose.
        problem: why there is no value, "" where there is one.
    """

    now_ns: int
    source: str
    stamp_ns: int
    value: Any = None
    problem: str = ""


@dataclass
class ReplayBag:
    """Says where a bag has what, and reads it.

    Attributes:
        topics: stream or name of `OTHERS` -> topic; what the bag lacks is not in it.
        clock_shift_ns: what the recorder's clock is ahead of the stamps'; 0 where it is the same.
        labels_recorded: labels are taken from the bag, not made from its images.
    """

    bag: RecordedBag
    table: StreamTable
    topics: dict[str, str] = field(default_factory=dict)
    clock_shift_ns: int = 0
    labels_recorded: bool = False

    @property
    def missing(self) -> list[str]:
        """Streams of the table that the bag has no images for, nor images to label."""
        return [
            stream.name
            for stream in self.table
            if stream.name not in self.topics
            and not (
                not self.labels_recorded and any(s in self.topics for s in stream.derived_from)
            )
        ]

    def events(self) -> Iterator[Event]:
        """Everything in the order in which it came."""
        sources = {topic: source for source, topic in self.topics.items() if source != COMMAND}
        store = messages.typestore()
        now_ns = 0
        for topic, logged_ns, data in self.bag.messages(sources):
            # A recorder with a cache may write a message after one that came later.
            now_ns = max(now_ns, logged_ns - self.clock_shift_ns)
            source = sources[topic]
            try:
                message = store.deserialize_cdr(data, self.bag.topics[topic].type_name)
                yield self._event(source, message, now_ns)
            # A message that was damaged in the recording; cameras send such ones, too.
            except Exception as error:
                yield Event(now_ns, source, now_ns, problem=" ".join(str(error).split()))

    def commands(self) -> tuple[np.ndarray, np.ndarray]:
        """Times (N,) nanoseconds and targets (N, 6) radians that the arm was given; N may be 0."""
        times, targets = [], []
        store = messages.typestore()
        topic = self.topics.get(COMMAND)
        for _, logged_ns, data in self.bag.messages([topic] if topic else []):
            message = store.deserialize_cdr(data, messages.TRAJECTORY)
            if tuple(message.joint_names) == JOINT_NAMES and message.points:
                when, what = messages.points(message, logged_ns - self.clock_shift_ns)
                times.append(when[0])
                targets.append(what[0])
        order = np.argsort(np.array(times, np.int64), kind="stable")
        return np.array(times, np.int64)[order], np.array(targets).reshape(-1, 6)[order]

    def _event(self, source: str, message: Any, now_ns: int) -> Event:
        if source == TASK:
            return Event(now_ns, source, now_ns, message.data.strip())
        if source == OBJECTS:
            poses = {marker.ns: _pose(marker.pose) for marker in message.markers}
            return Event(now_ns, source, now_ns, poses)
        # Drivers of others leave the stamp at zero.
        stamp_ns = messages.stamp_of(message.header) or now_ns
        if source == JOINT_STATES:
            positions = messages.joint_positions(message)
            known = np.isfinite(positions).all()
            return Event(now_ns, source, stamp_ns, positions, "" if known else "not our joints")
        kind = self.table[source].kind
        return Event(now_ns, source, stamp_ns, to_units(kind, messages.picture(message, kind)))


def find_topics(
    bag: RecordedBag,
    table: StreamTable,
    namespace: str = "",
    given: Mapping[str, str] | None = None,
    labels: str = "auto",
) -> ReplayBag:
    """Find out where a bag has what.

    A stream's topic is the one that is given, or that of the stream table, or `STREAM/image_raw`
    in the namespace, or `STREAM/image` of a bag that has only conditioned images.

    Args:
        given: stream or name of `OTHERS` -> topic.
        labels: `recorded` and `network` say where labels come from; `auto` takes recorded ones that
            came raw, or where everything came conditioned.

    Raises:
        BagError: the bag lacks a topic that is given, or has no images; one line.
    """
    given = dict(given or {})
    prefix = f"/{namespace.strip('/')}".rstrip("/")
    for name, topic in given.items():
        if name not in table.names and name not in OTHERS:
            known = ", ".join((*table.names, *OTHERS))
            raise BagError(f"--topics {name}={topic}: unknown name '{name}'; expected {known}")
        if topic not in bag.topics:
            have = ", ".join(sorted(bag.topics))
            raise BagError(f"{bag.path}: has no topic '{topic}' ({name}); it has {have}")
    found = ReplayBag(bag, table)
    for stream in table:
        raw = table.topics.get(stream.name) or f"{prefix}/{stream.name}/image_raw"
        wanted = (given.get(stream.name, ""), raw, f"{raw}/compressed")
        _take(found, stream.name, wanted, IMAGE_TYPES)
    derived = [stream.name for stream in table if stream.derived_from]
    raw_cameras = any(name not in derived for name in found.topics)
    raw_labels = any(name in derived for name in found.topics)
    found.labels_recorded = labels == "recorded" or (
        labels == "auto" and (raw_labels or not raw_cameras)
    )
    for stream in table:
        if stream.name not in found.topics:
            _take(found, stream.name, [f"{prefix}/{stream.name}/image"], IMAGE_TYPES)
        if not found.labels_recorded and stream.name in derived:
            found.topics.pop(stream.name, None)
    if not found.topics:
        have = ", ".join(sorted(bag.topics)) or "nothing"
        raise BagError(
            f"{bag.path}: has images of no stream of the table; name them with "
            f"--topics STREAM=TOPIC; it has {have}"
        )
    for name, type_name in OTHERS.items():
        _take(found, name, (given.get(name, ""), f"{prefix}/{name}"), (type_name,))
    found.clock_shift_ns = _clock_shift(found)
    return found


def _take(found: ReplayBag, name: str, topics: Collection[str], types: Collection[str]) -> None:
    """Take the first of the topics that the bag has, if it is of one of the types."""
    for topic in topics:
        if topic in found.bag.topics:
            type_name = found.bag.topics[topic].type_name
            if type_name not in types:
                wanted = " or ".join(types)
                raise BagError(f"{found.bag.path}: {topic} is a {type_name}; expected {wanted}")
            found.topics[name] = topic
            return


def _clock_shift(found: ReplayBag) -> int:
    """How far the recorder's clock was ahead of the stamps'; 0 for the same clock."""
    images = [topic for name, topic in found.topics.items() if name not in OTHERS]
    store, ahead_ns = messages.typestore(), []
    for topic, logged_ns, data in found.bag.messages(images):
        message = store.deserialize_cdr(data, found.bag.topics[topic].type_name)
        stamp_ns = messages.stamp_of(message.header)
        if stamp_ns:
            ahead_ns.append(logged_ns - stamp_ns)
        if len(ahead_ns) == CLOCK_SAMPLE:
            break
    if not ahead_ns or abs(float(np.median(ahead_ns))) < SAME_CLOCK_NS:
        return 0
    # The frame that came soonest came at once.
    return min(ahead_ns)


def _pose(pose: Any) -> np.ndarray:
    p, q = pose.position, pose.orientation
    return np.array([p.x, p.y, p.z, q.w, q.x, q.y, q.z])
