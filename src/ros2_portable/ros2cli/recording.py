"""Recording of topics into an MCAP bag, as raw bytes, by a thread of its own."""

import queue
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rclpy.node import Node
from ros2cli import graph
from ros2cli.cli import CommandError
from ros2cli.qos import matching_qos
from rosbags import interfaces
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError
from rosbags.typesys import Stores, get_typestore

# What a killed recording may lose.
_SYNC_S = 0.2
# About a gigabyte of 640x480 images: a disk that is so late does not catch up any more.
_QUEUE_LENGTH = 1000


def _offered_qos(node: Node, topic: str) -> list[interfaces.Qos]:
    """Return the QoS of each publisher in the form of the bag's metadata."""
    offered = []
    for info in node.get_publishers_info_by_topic(topic):
        qos = info.qos_profile
        durations = [
            interfaces.QosTime(*divmod(duration.nanoseconds, 10**9))
            for duration in (qos.deadline, qos.lifespan, qos.liveliness_lease_duration)
        ]
        offered.append(
            interfaces.Qos(
                interfaces.QosHistory(qos.history.value),
                qos.depth,
                interfaces.QosReliability(qos.reliability.value),
                interfaces.QosDurability(qos.durability.value),
                *durations[:2],
                interfaces.QosLiveliness(qos.liveliness.value),
                durations[2],
                False,
            )
        )
    return offered


class Recorder:
    """Subscribes to all wanted topics that have publishers, now or later, and writes them.

    `wanted(topic)` chooses; `stamps_from_clock` records ROS time instead of system time. The
    writing thread is alive until `close` or an error, which `close` raises as CommandError.
    """

    def __init__(
        self, node: Node, path: Path, wanted: Callable[[str], bool], stamps_from_clock: bool
    ) -> None:
        self._node = node
        self._path = path
        self._wanted = wanted
        self._stamps_from_clock = stamps_from_clock
        self._typestore = get_typestore(Stores.ROS2_JAZZY)
        # Topic -> type and QoS; with None for a topic that cannot be recorded.
        self._topics: dict[str, tuple[str, list[interfaces.Qos]] | None] = {}
        self._queue: queue.Queue[tuple[str, int, bytes] | None] = queue.Queue(_QUEUE_LENGTH)
        self._error: Exception | None = None
        self.dropped = 0
        self.thread = threading.Thread(target=self._write, daemon=True)
        self.thread.start()
        node.create_timer(0.1, self._discover)

    def _discover(self) -> None:
        for topic, types in self._node.get_topic_names_and_types():
            if topic in self._topics or not self._wanted(topic):
                continue
            if not self._node.count_publishers(topic):
                continue
            log = self._node.get_logger()
            try:
                if len(types) > 1 or types[0] not in self._typestore.types:
                    raise CommandError(f"no definition for type {' and '.join(types)}")
                message = graph.import_interface(types[0], "msg")
            except CommandError as error:
                self._topics[topic] = None
                log.warning(f"cannot record '{topic}': {error}")
                continue
            self._topics[topic] = types[0], _offered_qos(self._node, topic)
            qos = matching_qos(self._node, topic, depth=100)
            self._node.create_subscription(message, topic, self._receiver(topic), qos, raw=True)
            log.info(f"Subscribed to topic '{topic}'")

    def _receiver(self, topic: str) -> Callable[[bytes], None]:
        def receive(data: bytes) -> None:
            stamp_ns = time.time_ns()
            if self._stamps_from_clock:
                stamp_ns = self._node.get_clock().now().nanoseconds
            if stamp_ns == 0:
                return  # There is no simulated time yet.
            try:
                self._queue.put_nowait((topic, stamp_ns, data))
            except queue.Full:
                self.dropped += 1

        return receive

    def _write(self) -> None:
        try:
            storage = StoragePlugin.MCAP
            with Writer(self._path, version=9, storage_plugin=storage) as writer:
                self._drain(writer)
        except (OSError, WriterError) as error:
            self._error = error

    def _drain(self, writer: Writer) -> None:
        connections: dict[str, interfaces.Connection] = {}

        def connection(topic: str) -> interfaces.Connection:
            if topic not in connections:
                name, qos = self._topics[topic]
                connections[topic] = writer.add_connection(
                    topic, name, typestore=self._typestore, offered_qos_profiles=qos
                )
            return connections[topic]

        synced = time.monotonic()
        open_bag = True
        while open_bag:
            try:
                item = self._queue.get(timeout=_SYNC_S)
                open_bag = item is not None
                if item:
                    writer.write(connection(item[0]), *item[1:])
            except queue.Empty:
                pass
            if time.monotonic() - synced > _SYNC_S:
                # A killed process keeps what the system has; rosbags would collect a megabyte.
                if writer.storage.chunk.bio.tell():
                    writer.storage.close_chunk()
                writer.storage.bio.flush()
                synced = time.monotonic()
        for topic, known in self._topics.items():
            if known:
                connection(topic)

    def close(self) -> None:
        """Write what is left and the metadata."""
        self._queue.put(None) if self.thread.is_alive() else None
        self.thread.join()
        if self._error:
            raise CommandError(f"cannot write {self._path}: {self._error}")


def topic_filter(topics: list[str], everything: bool, regex: str | None) -> Callable[[str], bool]:
    """Return whether a topic is wanted: named, matching, or any that is not hidden."""
    names = {graph.full_name(topic) for topic in topics}
    pattern = re.compile(regex) if regex else None
    return lambda topic: (
        topic in names
        or bool(pattern and pattern.search(topic))
        or (everything and not graph.is_hidden(topic))
    )
