"""Recording of topics into an MCAP bag, as raw bytes, by a thread of its own."""

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from ros2cli import graph
from ros2cli.cli import CommandError
from ros2cli.qos import matching_qos
from rosbags import interfaces
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

# What a killed recording may lose.
_SYNC_S = 0.2
# About a gigabyte of 640x480 images: a disk that is so late does not catch up any more.
_QUEUE_LENGTH = 1000


def _bag_qos(qos: QoSProfile) -> interfaces.Qos:
    def bag_time(duration: Duration) -> interfaces.QosTime:
        return interfaces.QosTime(*divmod(duration.nanoseconds, 10**9))

    return interfaces.Qos(
        history=interfaces.QosHistory(qos.history.value),
        depth=qos.depth,
        reliability=interfaces.QosReliability(qos.reliability.value),
        durability=interfaces.QosDurability(qos.durability.value),
        deadline=bag_time(qos.deadline),
        lifespan=bag_time(qos.lifespan),
        liveliness=interfaces.QosLiveliness(qos.liveliness.value),
        liveliness_lease_duration=bag_time(qos.liveliness_lease_duration),
        avoid_ros_namespace_conventions=False,
    )


class Recorder:
    """Subscribes to all wanted topics that have publishers, now or later, and writes them.

    `wanted(topic)` chooses; `ros_time` stamps with the node's clock instead of system time. The
    thread is alive until `close` or an error, which `close` raises as CommandError.
    """

    def __init__(
        self, node: Node, path: Path, wanted: Callable[[str], bool], ros_time: bool
    ) -> None:
        self._node = node
        self._path = path
        self._wanted = wanted
        self._ros_time = ros_time
        self._typestore = get_typestore(Stores.ROS2_JAZZY)
        # Topic -> type and offered QoS; None for a topic that cannot be recorded.
        self._topics: dict[str, tuple[str, list[interfaces.Qos]] | None] = {}
        self._connections: dict[str, interfaces.Connection] = {}
        self._queue: queue.Queue[tuple[str, int, bytes]] = queue.Queue(_QUEUE_LENGTH)
        self._closing = threading.Event()
        self._error: Exception | None = None
        self.dropped = 0
        self.thread = threading.Thread(target=self._write, daemon=True)
        self.thread.start()
        node.create_timer(0.1, self._discover)

    def _discover(self) -> None:
        for topic, types in self._node.get_topic_names_and_types():
            if topic in self._topics or not self._wanted(topic):
                continue
            # A topic without publisher has no QoS yet to fit.
            if publishers := self._node.get_publishers_info_by_topic(topic):
                offered = [_bag_qos(publisher.qos_profile) for publisher in publishers]
                self._subscribe(topic, " and ".join(types), offered)

    def _subscribe(self, topic: str, type_name: str, offered: list[interfaces.Qos]) -> None:
        self._topics[topic] = None
        try:
            message = graph.import_interface(type_name, "msg")
            if type_name not in self._typestore.types:
                raise CommandError(f"rosbags has no definition of '{type_name}'")
        except CommandError as error:
            self._node.get_logger().warning(f"cannot record '{topic}': {error}")
            return
        self._topics[topic] = type_name, offered
        qos = matching_qos(self._node, topic, depth=100)
        receive = lambda data: self._receive(topic, data)  # noqa: E731
        self._node.create_subscription(message, topic, receive, qos, raw=True)
        self._node.get_logger().info(f"Subscribed to topic '{topic}'")

    def _receive(self, topic: str, data: bytes) -> None:
        clock = self._node.get_clock()
        stamp_ns = clock.now().nanoseconds if self._ros_time else time.time_ns()
        try:
            if stamp_ns > 0:  # Simulated time is 0 before it starts.
                self._queue.put_nowait((topic, stamp_ns, data))
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        try:
            with Writer(self._path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
                self._drain(writer)
                for topic, known in self._topics.items():
                    if known:
                        self._connection(writer, topic)
        except Exception as error:
            self._error = error

    def _drain(self, writer: Writer) -> None:
        synced = time.monotonic()
        while not (self._closing.is_set() and self._queue.empty()):
            try:
                topic, stamp_ns, data = self._queue.get(timeout=_SYNC_S)
                writer.write(self._connection(writer, topic), stamp_ns, data)
            except queue.Empty:
                pass
            if time.monotonic() - synced > _SYNC_S:
                # A killed process keeps what the system has; rosbags would collect a megabyte.
                if writer.storage.chunk.bio.tell():
                    writer.storage.close_chunk()
                writer.storage.bio.flush()
                synced = time.monotonic()

    def _connection(self, writer: Writer, topic: str) -> interfaces.Connection:
        if topic not in self._connections:
            type_name, offered = self._topics[topic]
            self._connections[topic] = writer.add_connection(
                topic, type_name, typestore=self._typestore, offered_qos_profiles=offered
            )
        return self._connections[topic]

    def close(self) -> None:
        """Write what is left and the metadata."""
        self._closing.set()
        self.thread.join()
        if self._error:
            raise CommandError(f"cannot write {self._path}: {self._error}")
