"""The only reader of recordings: what came when, by stream, in SI units, on one clock.

Replay, training, the player for the live nodes and the comparison with a recorded stack all read a
bag through `open_recording`, so that they agree on where it has what and on what its numbers mean.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multismolvla.data import bag_messages as messages
from multismolvla.data.bag_clock import BagClock, find_clock
from multismolvla.data.bag_info import read_info
from multismolvla.data.recorded_bag import BagError, RecordedBag, open_bag
from multismolvla.embodiment.description import Embodiment
from multismolvla.faults.fault import JOINT_STATES
from multismolvla.modalities.camera_image import raw_frame
from multismolvla.modalities.compressed import DEPTH as COMPRESSED_DEPTH
from multismolvla.modalities.conversion import to_units
from multismolvla.modalities.modality import Counts
from multismolvla.one_line import one_line
from multismolvla.pose_check.check import NONE
from multismolvla.sensing.reported_health import parse_status
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
# Of the source of a status, behind the name of its stream.
STATUS = "/status"
# Enough for every publisher of joint states to have its turn.
STATES_LOOKED_AT = 50


@dataclass(frozen=True)
class Event:
    """Something that came.

    Attributes:
        now_ns: when, on the clock of the stamps.
        source: a stream of the table, `<stream>/status` or a name of `OTHERS`.
        stamp_ns: of the message; `now_ns` where it has none.
        value: a frame in SI units; the `StreamStatus` of a stream; joint positions (J,); the
            instruction; object -> pose; of a command the times (N,) nanoseconds and targets (N, J)
            radians of its points.
        problem: why there is no value, "" where there is one.
    """

    now_ns: int
    source: str
    stamp_ns: int
    value: Any = None
    problem: str = ""


@dataclass
class Recording:
    """Knows topics of the bag, and reads it; see `open_recording`.

    Attributes:
        joints: of the arm, in the order of positions and targets.
        topic_joints: what the bag's messages call them.
        prefix: namespace of the recorded topics with a slash before it, or "".
        topics: stream, `<stream>/status` or name of `OTHERS` -> topic; what the bag lacks is not in
            it.
        clock: from the recorder's times to those of the stamps.
        units: stream -> what the integers of its images mean.
        labels_recorded: labels are taken from the bag, not made from its images.
        first_task: the instruction that the policy was started with, before any of the bag's.
        git_revision: of the code that was recorded, "" where it is not known.
        pose_check: what the recorded stack compared images with the joints by.
        heard, problems: source -> how many events the newest `events` has had, and what kept how
            many of them from being of use.
    """

    bag: RecordedBag
    table: StreamTable
    joints: tuple[str, ...]
    topic_joints: tuple[str, ...]
    prefix: str = ""
    topics: dict[str, str] = field(default_factory=dict)
    clock: BagClock = field(default_factory=BagClock)
    units: dict[str, Counts] = field(default_factory=dict)
    labels_recorded: bool = False
    first_task: str = ""
    git_revision: str = ""
    pose_check: str = NONE
    heard: Counter[str] = field(default_factory=Counter)
    problems: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def streams(self) -> list[str]:
        """Streams of the table that the bag has images of."""
        return [name for name in self.table.names if name in self.topics]

    @property
    def judged(self) -> list[str]:
        """Streams whose images are those that a sensor node passed on, with its statuses."""
        return [name for name in self.table.names if f"{name}{STATUS}" in self.topics]

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

    def events(self, *, commands: bool = False) -> Iterator[Event]:
        """Everything in the order in which it came.

        Args:
            commands: also what the arm was commanded, which a replay does not play.
        """
        self.heard.clear()
        self.problems.clear()
        for event in self._events(commands):
            self.heard[event.source] += 1
            if event.problem:
                self.problems.setdefault(event.source, Counter())[event.problem] += 1
            yield event

    def complaint(self, source: str) -> str:
        """Why no event of a source was of use, "" where one was or nothing came."""
        heard, problems = self.heard[source], self.problems.get(source, Counter())
        if not heard or problems.total() < heard:
            return ""
        problem, _ = problems.most_common(1)[0]
        return f"none of {heard} messages of {self.topics[source]} is of use: {problem}"

    def _events(self, commands: bool) -> Iterator[Event]:
        sources = {t: s for s, t in self.topics.items() if commands or s != COMMAND}
        store = messages.typestore()
        now_ns = 0
        for topic, logged_ns, data in self.bag.messages(sources):
            # A recorder with a cache may write a message after one that came later.
            now_ns = max(now_ns, self.clock.at(logged_ns))
            source = sources[topic]
            try:
                message = store.deserialize_cdr(data, self.bag.topics[topic].type_name)
                yield self._event(source, message, now_ns)
            # A message that was damaged in the recording; cameras send such ones, too.
            except Exception as error:
                yield Event(now_ns, source, now_ns, problem=one_line(error))

    def messages(self) -> Iterator[tuple[int, str, bytes]]:
        """What reaches the stack from outside, serialised for its topics: (time, source, bytes).

        Images come as the sensor nodes take them with their default parameters: compressed ones
        decoded, counts of another scale in SI units. One that cannot be read comes without pixels.
        """
        sources = self.played
        now_ns = 0
        for topic, logged_ns, data in self.bag.messages(sources):
            now_ns = max(now_ns, self.clock.at(logged_ns))
            source = sources[topic]
            compressed = self.bag.topics[topic].type_name == messages.COMPRESSED_IMAGE
            if compressed or self._counts_differ(source):
                data = self._image(source, topic, data, now_ns)
            yield now_ns, source, data

    def _counts_differ(self, source: str) -> bool:
        return source in self.units and self.units[source] != self.table[source].modality.counts

    def _image(self, stream: str, topic: str, data: bytes, now_ns: int) -> bytes:
        stamp_ns, frame = now_ns, np.zeros((0, 0), np.uint8)
        # As in `events`.
        with contextlib.suppress(Exception):
            type_name = self.bag.topics[topic].type_name
            message = messages.typestore().deserialize_cdr(data, type_name)
            stamp_ns = messages.stamp_of(message.header) or now_ns
            frame = self._event(stream, message, now_ns).value
        return messages.image(stream, stamp_ns, frame)

    @property
    def played(self) -> dict[str, str]:
        """Topic -> source, of all that reaches the stack from outside."""
        return {topic: source for source, topic in self.topics.items() if source != COMMAND}

    @property
    def end_ns(self) -> int:
        """When the last event comes, 0 without any; reads the bag, and decodes nothing."""
        times_ns = (self.clock.at(logged_ns) for _, logged_ns, _ in self.bag.messages(self.played))
        return max(times_ns, default=0)

    def trajectories(self, topic: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Times (N,) nanoseconds and targets (N, J) radians of a topic's, by their first time."""
        found = []
        for _, logged_ns, message in messages.decoded(self.bag, topic):
            # Those of another arm say nothing.
            with contextlib.suppress(ValueError):
                found.append(messages.points(message, self.clock.at(logged_ns), self.topic_joints))
        return sorted(found, key=lambda points: points[0][0])

    def commands(self) -> tuple[np.ndarray, np.ndarray]:
        """Times (N,) nanoseconds and first targets (N, J) radians of the commands; N may be 0."""
        found = self.trajectories(self.topics.get(COMMAND, ""))
        firsts = np.array([targets[0] for _, targets in found])
        times_ns = np.array([times_ns[0] for times_ns, _ in found], np.int64)
        return times_ns, firsts.reshape(-1, len(self.joints))

    def _event(self, source: str, message: Any, now_ns: int) -> Event:
        if source == TASK:
            return Event(now_ns, source, now_ns, message.data.strip())
        if source == OBJECTS:
            poses = {marker.ns: messages.pose(marker.pose) for marker in message.markers}
            return Event(now_ns, source, now_ns, poses)
        # Drivers of others leave the stamp at zero.
        stamp_ns = messages.stamp_of(message.header) or now_ns
        if source == JOINT_STATES:
            positions = messages.joint_positions(message, self.topic_joints)
            lacks = [n for n, p in zip(self.joints, positions, strict=True) if not np.isfinite(p)]
            problem = f"no position of {', '.join(lacks)}" if lacks else ""
            return Event(now_ns, source, stamp_ns, positions, problem)
        if source == COMMAND:
            return Event(
                now_ns, source, stamp_ns, messages.points(message, now_ns, self.topic_joints)
            )
        if source.endswith(STATUS):
            return Event(now_ns, source, stamp_ns, parse_status(messages.status_values(message)))
        modality = self.table[source].modality
        raw = raw_frame(modality, message)
        frame = to_units(modality, raw, self.units.get(source))
        return Event(now_ns, source, stamp_ns, frame)


def open_recording(
    path: str | Path,
    table: StreamTable,
    embodiment: Embodiment,
    namespace: str = "",
    given: Mapping[str, str] | None = None,
    labels: str = "auto",
    *,
    judged: bool = False,
) -> Recording:
    """Open a bag and find out where it has what.

    A stream's topic is the one that is given, or that of the stream table, or `STREAM/image_raw`
    in the namespace, or `STREAM/image` of a bag that has only conditioned images.

    Args:
        path: folder of a bag, or one file of it, whole or cut off.
        embodiment: the arm that was recorded.
        given: stream or name of `OTHERS` -> topic.
        labels: `recorded` and `network` say where labels come from; `auto` takes recorded ones
            where the recorded stack did, and where there are no raw images to label.
        judged: take what the recorded sensor nodes passed on instead of raw images, wherever
            `STREAM/image` and `STREAM/status` were recorded.

    Raises:
        BagError: there is no bag, it lacks a topic that is given, has no images, or has the joints
            of another arm; one line.
    """
    bag = open_bag(path)
    given = dict(given or {})
    prefix = f"/{namespace.strip('/')}".rstrip("/")
    for name, topic in given.items():
        if name not in table.names and name not in OTHERS:
            known = ", ".join((*table.names, *OTHERS))
            raise BagError(f"--topics {name}={topic}: unknown name '{name}'; expected {known}")
        if topic not in bag.topics:
            have = ", ".join(sorted(bag.topics))
            raise BagError(f"{bag.path}: has no topic '{topic}' ({name}); it has {have}")
    joints = embodiment.joint_names
    called = tuple(embodiment.topic_names(joints))
    found = Recording(bag, table, joints, called, prefix)
    _find_images(found, given, labels, judged)
    for name, type_name in OTHERS.items():
        _take(found, name, (given.get(name, ""), f"{prefix}/{name}"), (type_name,))
    _check_joints(found, embodiment)
    found.clock = find_clock(bag, [found.topics[name] for name in found.streams])
    return found


def _check_joints(found: Recording, embodiment: Embodiment) -> None:
    """Refuse the joint states of another arm; some publishers report a part of the joints only."""
    topic = found.topics.get(JOINT_STATES, "")
    states = itertools.islice(messages.decoded(found.bag, topic), STATES_LOOKED_AT)
    names = dict.fromkeys(name for _, _, message in states for name in message.name)
    missing = [name for name in found.topic_joints if name not in names]
    if names and missing:
        raise BagError(
            f"{found.bag.path}: {topic} has the joints {', '.join(names)}; "
            f"the arm '{embodiment.name}' has {', '.join(found.topic_joints)} (topic_name in an "
            "embodiment file maps other names)"
        )


def _find_images(found: Recording, given: Mapping[str, str], labels: str, judged: bool) -> None:
    bag, table, prefix = found.bag, found.table, found.prefix
    for stream in table:
        conditioned, status = f"{prefix}/{stream.name}/image", f"{prefix}/{stream.name}{STATUS}"
        if judged and stream.name not in given and {conditioned, status} <= bag.topics.keys():
            _take(found, stream.name, [conditioned], IMAGE_TYPES)
            _take(found, f"{stream.name}{STATUS}", [status], (messages.STATUS,))
            continue
        raw = table.topics.get(stream.name) or f"{prefix}/{stream.name}/image_raw"
        # As a sensor node looks for them.
        packed = [f"{raw}/{COMPRESSED_DEPTH}"] if stream.modality.no_return else []
        wanted = (given.get(stream.name, ""), raw, *packed, f"{raw}/compressed")
        _take(found, stream.name, wanted, IMAGE_TYPES)
    info = read_info(bag, prefix)
    derived = [stream.name for stream in table if stream.derived_from]
    # A recorder has a simulator publish its labels, whether the stack looks at them or not.
    took_labels = info.launch_arguments.get("segmentation") == "ground_truth"
    took_labels |= any(name in derived for name in found.judged)
    raw_cameras = any(name not in derived for name in found.streams)
    found.labels_recorded = labels == "recorded" or (
        labels == "auto" and (took_labels or not raw_cameras)
    )
    found.first_task, found.git_revision = info.task(prefix), info.git_revision
    found.pose_check = info.pose_check(prefix)
    found.units = {
        stream.name: info.units(stream, prefix, table.counts(stream.name)) for stream in table
    }
    for stream in table:
        if stream.name not in found.topics:
            _take(found, stream.name, [f"{prefix}/{stream.name}/image"], IMAGE_TYPES)
        if not found.labels_recorded and stream.name in derived:
            found.topics.pop(stream.name, None)
            found.topics.pop(f"{stream.name}{STATUS}", None)
    if not found.streams:
        have = ", ".join(sorted(bag.topics)) or "nothing"
        guesses = guess_topics(bag, table)
        words = " ".join(f"{name}={topic}" for name, topic in guesses.items()) or "STREAM=TOPIC"
        raise BagError(
            f"{bag.path}: has images of no stream of the table; name them with "
            f"--topics {words}; it has {have}"
        )


# Words in the topics of others, by the kind that they stand for.
_WORDS = {"rgb": ("rgb", "color", "colour"), "depth": ("depth",), "thermal": ("thermal", "lwir")}


def guess_topics(
    bag: RecordedBag, table: StreamTable, taken: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Stream -> topic of images that are probably meant, for a person to confirm.

    Args:
        taken: stream -> topic of what needs no guess.
    """
    taken = taken or {}
    images = sorted(
        topic
        for topic, known in bag.topics.items()
        if known.type_name in IMAGE_TYPES and topic not in taken.values()
    )
    found: dict[str, str] = {}
    for stream in table:
        words = _WORDS.get(stream.kind, (stream.kind,))
        fits = [
            topic
            for topic in images
            if topic not in found.values()
            and any(word in topic.lower() for word in words)
            and (stream.view in topic if stream.view else True)
        ]
        if fits and not stream.derived_from and stream.name not in taken:
            found[stream.name] = min(fits, key=len)
    rest = [topic for topic in images if topic not in found.values()]
    if not found and rest and "rgb" in table.names and "rgb" not in taken:
        found["rgb"] = rest[0]
    return found


def _take(found: Recording, name: str, topics: Collection[str], types: Collection[str]) -> None:
    """Take the first of the topics that the bag has, if it is of one of the types."""
    for topic in topics:
        if topic in found.bag.topics:
            type_name = found.bag.topics[topic].type_name
            if type_name not in types:
                wanted = " or ".join(types)
                raise BagError(f"{found.bag.path}: {topic} is a {type_name}; expected {wanted}")
            found.topics[name] = topic
            return
