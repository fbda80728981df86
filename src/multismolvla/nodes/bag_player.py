"""Plays the cameras and joint states of a bag to the live nodes, on the bag's clock.

Started by replay.launch.py. Unlike `ros2 bag play` it leaves out what the stack itself published,
maps topics of other stacks, reads recordings that were cut off, and waits until the stack listens.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from multismolvla.data.recorded_bag import BagError
from multismolvla.data.recording import OBJECTS, TASK, Recording, open_recording
from multismolvla.faults.fault import JOINT_STATES
from multismolvla.nodes.parameters import (
    ParameterError,
    declare,
    declare_arm,
    declare_streams_file,
    reject_unknown,
)
from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_qos import offered
from multismolvla.streams import load_stream_table

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# What the policy node reports when it has all it needs but the time.
READY = "no /clock yet"
# While it is waited for: any instruction would do, for without a time nothing is done.
WAITING_TASK = "wait for the bag"
TELL_PERIOD_S = 10.0
# The last frames are still being processed.
TAIL_S = 1.0


class BagPlayer(Node):
    """Publishes `<stream>/image_raw`, `joint_states`, `task` and `/clock`, then ends.

    Args:
        on_end: called when the bag is over; by default the process is.
    """

    def __init__(self, on_end: Callable[[], None] | None = None, **options) -> None:
        super().__init__("bag_player", **options)

        def text(name: str, default: str, description: str, choices=None) -> str:
            return declare(self, name, default, description, choices=choices, read_only=True)

        def number(name: str, default: float, least: float, most: float, description: str):
            return declare(
                self, name, default, description, minimum=least, maximum=most, read_only=True
            )

        streams_file = declare_streams_file(self)
        bag = text("bag", "", "Bag to play: its folder, or a file of it.")
        namespace = text("bag_namespace", "", "Namespace of the recorded topics.")
        topics = text("topics", "", "Topics of other stacks: NAME=TOPIC, separated by blanks.")
        description = "Labels from the segmentation node, or the bag's."
        labels = text("labels", "network", description, ("network", "recorded"))
        self._task = text("task", "", "Instruction, instead of those of the bag.").strip()
        self._rate = number("rate", 1.0, 0.1, 10.0, "Bag seconds per second.")
        self._clock_s = 1.0 / number("clock_hz", 100.0, 1.0, 1000.0, "Rate of /clock.")
        arm = declare_arm(self)
        reject_unknown(self)
        self._on_end = on_end or partial(rclpy.try_shutdown, context=self.context)
        if not bag:
            raise ParameterError(f"{self.get_fully_qualified_name()}: parameter 'bag' is empty")
        table = load_stream_table(streams_file)
        self._source = open_recording(bag, table, arm, namespace, _pairs(topics), labels)
        self._tell(self._source)

        self._outputs = self._make_outputs()
        self._time = self.create_publisher(Clock, "/clock", 10)
        self._next_clock_s = 0.0
        self._ready = threading.Event()
        self._stop = threading.Event()
        self.create_subscription(DiagnosticArray, "policy/status", self._on_policy_status, 1)
        self._outputs[TASK].publish(String(data=self._task or WAITING_TASK))
        self._thread = threading.Thread(target=self._run, name="player", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _tell(self, source: Recording) -> None:
        logger = self.get_logger()
        if source.bag.damage:
            logger.warning(f"{source.bag.path}: {source.bag.damage}")
        if source.missing:
            logger.warning(f"the bag has no images of {', '.join(source.missing)}")

    def _make_outputs(self) -> dict[str, Publisher]:
        kinds = {
            JOINT_STATES: (JointState, 1),
            OBJECTS: (MarkerArray, 1),
            TASK: (String, LATCHED),
        }
        outputs = {
            name: self.create_publisher(kind, name, qos)
            for name, (kind, qos) in kinds.items()
            if name in self._source.topics or name == TASK
        }
        for name in self._source.topics:
            if name in self._source.table.names:
                topic = f"{name}/image_raw"
                outputs[name] = self.create_publisher(Image, topic, offered())
        return outputs

    def _on_policy_status(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for status in message.status for pair in status.values}
        if values.get("reason") == READY:
            self._ready.set()

    def _run(self) -> None:
        try:
            if self._wait():
                self._play()
        except BagError as error:
            self.get_logger().error(str(error))
        self._on_end()

    def _wait(self) -> bool:
        """Wait until everybody listens; False where this is stopped before."""
        told_s = time.monotonic()
        while not self._stop.wait(0.05):
            deaf = [
                name
                for name, output in self._outputs.items()
                if name != OBJECTS and output.get_subscription_count() == 0
            ]
            if not deaf and self._ready.is_set():
                return True
            if time.monotonic() - told_s > TELL_PERIOD_S:
                told_s = time.monotonic()
                who = ", ".join(deaf) or "the policy"
                self.get_logger().info(f"waiting for subscribers: {who}")
        return False

    def _play(self) -> None:
        self._outputs[TASK].publish(String(data=self._task or self._source.first_task))
        begin_s, first_ns = time.monotonic(), None
        for now_ns, name, data in self._source.messages():
            if name == TASK and self._task:
                continue
            if first_ns is None:
                first_ns = now_ns
                self.get_logger().info("playing")
            self._pass_time(begin_s, first_ns, now_ns)
            if self._stop.is_set():
                return
            self._outputs[name].publish(data)
        if first_ns is not None:
            self._pass_time(begin_s, first_ns, now_ns + round(TAIL_S * self._rate * 1e9))
            self.get_logger().info(f"played {(now_ns - first_ns) * 1e-9:.1f} s")

    def _pass_time(self, begin_s: float, first_ns: int, until_ns: int) -> None:
        """Publish the time until it is `until_ns`."""
        due_s = begin_s + (until_ns - first_ns) * 1e-9 / self._rate
        while not self._stop.is_set():
            left_s = due_s - time.monotonic()
            if time.monotonic() >= self._next_clock_s:
                elapsed_s = min(time.monotonic(), due_s) - begin_s
                self._publish_clock(first_ns + round(elapsed_s * self._rate * 1e9))
                self._next_clock_s = time.monotonic() + self._clock_s
            if left_s <= 0.0:
                return
            self._stop.wait(min(left_s, max(0.0, self._next_clock_s - time.monotonic())))

    def _publish_clock(self, now_ns: int) -> None:
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(now_ns, 10**9)
        self._time.publish(clock)


def _pairs(text: str) -> dict[str, str]:
    pairs = {}
    for pair in text.split():
        name, equals, topic = pair.partition("=")
        if not (name and equals and topic):
            raise ParameterError(f"parameter 'topics': '{pair}' is not NAME=TOPIC")
        pairs[name] = f"/{topic.lstrip('/')}"
    return pairs


def main() -> int:
    return run(BagPlayer)
