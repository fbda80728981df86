"""Playing a bag's raw messages at their pace."""

import time
from pathlib import Path

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from ros2cli import graph
from ros2cli.cli import CommandError
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError
from rosgraph_msgs.msg import Clock


def open_bag(path: Path) -> Reader:
    """Return a reader, not opened yet, of a bag's folder or of a file in it."""
    folder = path.parent if path.is_file() else path
    try:
        return Reader(folder)
    except (ReaderError, OSError) as error:
        reason = " ".join(str(error).split())
        if folder.is_dir() and not (folder / "metadata.yaml").exists():
            reason = "no metadata.yaml; `ros2 bag reindex` of ros-jazzy-ros2bag can restore it"
        raise CommandError(f"cannot read the bag {path}: {reason}") from None


class Player:
    """Publishes what a bag holds, with the recorded QoS; topics of unknown type are left out.

    `rate` scales the time; `clock_hz` > 0 also publishes the bag's time on /clock.
    """

    def __init__(self, node: Node, reader: Reader, clock_hz: float) -> None:
        self._reader = reader
        self._publishers: dict[str, Publisher] = {}
        for connection in reader.connections:
            if connection.topic in self._publishers:
                continue
            try:
                message = graph.import_interface(connection.msgtype, "msg")
            except CommandError as error:
                node.get_logger().warning(f"Ignoring topic '{connection.topic}': {error}")
                continue
            self._publishers[connection.topic] = node.create_publisher(
                message, connection.topic, self._qos(connection.topic)
            )
        self._clock = node.create_publisher(Clock, "/clock", 10) if clock_hz > 0 else None
        self._clock_period_s = 1 / clock_hz if clock_hz > 0 else 0.1

    def _qos(self, topic: str) -> QoSProfile:
        offers = [
            qos
            for connection in self._reader.connections
            if connection.topic == topic
            for qos in connection.ext.offered_qos_profiles
        ]
        depth = max([qos.depth for qos in offers] + [10])
        if not offers:
            return QoSProfile(depth=depth)
        return graph.merged_qos(
            [(qos.reliability.value, qos.durability.value) for qos in offers], depth
        )

    def play(self, rate: float) -> None:
        """Publish the bag once; return early when the process is told to stop."""
        chosen = [c for c in self._reader.connections if c.topic in self._publishers]
        if not chosen or not self._reader.message_count:
            raise CommandError("there is nothing to play: see `ros2 bag info`")
        first_ns = self._reader.start_time
        begin, tick = time.monotonic(), 0
        for connection, stamp_ns, data in self._reader.messages(chosen):
            due_s = (stamp_ns - first_ns) / 1e9 / rate
            while rclpy.ok() and (now_s := time.monotonic() - begin) < due_s:
                if self._clock and now_s >= tick * self._clock_period_s:
                    self._tell_time(first_ns + int(now_s * rate * 1e9))
                    tick = int(now_s / self._clock_period_s) + 1
                wake_s = min(due_s, tick * self._clock_period_s if self._clock else now_s + 0.1)
                time.sleep(max(0.0, wake_s - now_s))
            if not rclpy.ok():
                return
            self._publishers[connection.topic].publish(bytes(data))
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=1.0))

    def _tell_time(self, stamp_ns: int) -> None:
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(stamp_ns, 10**9)
        self._clock.publish(clock)
