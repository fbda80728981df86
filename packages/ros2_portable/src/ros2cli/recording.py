"""Recording of topics into an MCAP bag, as raw bytes."""

import time
from collections.abc import Callable

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from ros2cli import graph
from ros2cli.cli import CommandError
from rosbags import interfaces
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

_SYNC_S = 0.2  # what a killed recording may lose
_TYPESTORE = get_typestore(Stores.ROS2_JAZZY)


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
    """Subscribes to all topics that `wanted` chooses and that have publishers, now or later."""

    def __init__(self, node: Node, writer: Writer, wanted: Callable[[str], bool]) -> None:
        self._node, self._writer, self._wanted = node, writer, wanted
        self._seen: set[str] = set()
        node.create_timer(0.1, self._discover)
        node.create_timer(_SYNC_S, self._sync)

    def _discover(self) -> None:
        for topic, types in self._node.get_topic_names_and_types():
            if topic in self._seen or not self._wanted(topic):
                continue
            # A topic without publisher has no QoS yet to fit.
            if publishers := self._node.get_publishers_info_by_topic(topic):
                self._seen.add(topic)
                offered = [_bag_qos(publisher.qos_profile) for publisher in publishers]
                try:
                    self._subscribe(topic, " and ".join(types), offered)
                except CommandError as error:
                    self._node.get_logger().warning(f"cannot record '{topic}': {error}")

    def _subscribe(self, topic: str, type_name: str, offered: list[interfaces.Qos]) -> None:
        message = graph.import_interface(type_name, "msg")
        if type_name not in _TYPESTORE.types:
            raise CommandError(f"rosbags has no definition of '{type_name}'")
        connection = self._writer.add_connection(
            topic, type_name, typestore=_TYPESTORE, offered_qos_profiles=offered
        )

        def write(data: bytes, info: dict[str, int]) -> None:
            # Of its arrival, as upstream: a busy machine calls back much later.
            arrived_ns = info.get("received_timestamp", 0) or time.time_ns()
            self._writer.write(connection, arrived_ns, data)

        qos = graph.matching_qos(self._node, topic, depth=100)
        self._node.create_subscription(message, topic, write, qos, raw=True)
        self._node.get_logger().info(f"Subscribed to topic '{topic}'")

    def _sync(self) -> None:
        # A killed process keeps what the system has; rosbags would collect a megabyte.
        storage = self._writer.storage
        if storage.chunk.bio.tell():
            storage.close_chunk()
        storage.bio.flush()
