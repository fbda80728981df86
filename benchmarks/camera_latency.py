"""Time from a camera's publication to a synchronised set at the policy's input.

One process publishes 640x480 RGB, depth and thermal at 30 Hz, the three real sensor nodes condition
them, and a sink synchronises and converts them as the policy node does. The stamp of a frame is the
moment of its publication.

    ./run python benchmarks/camera_latency.py --seconds 30
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from contextlib import ExitStack

from node_process import NodeProcess, machine, prepare_environment, write_stream_table

prepare_environment()

import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from cv_bridge import CvBridge  # noqa: E402
from message_filters import Subscriber  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from rclpy.time import Time  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from synthetic_camera import SyntheticCamera  # noqa: E402

from multismolvla.nodes.status_monitor import StatusMonitor  # noqa: E402
from multismolvla.nodes.stream_synchronizer import StreamSynchronizer  # noqa: E402

KINDS = ("rgb", "depth", "thermal")
RAW_HEIGHT, RAW_WIDTH, SIZE = 480, 640, (96, 96)
MEDIAN_TARGET_MS, P99_TARGET_MS, RATE_TARGET = 15.0, 40.0, 0.95
SLOP_S, MAX_WAIT_S = 0.012, 0.03


def publish(rate_hz: float, seed: int, stop: multiprocessing.Event) -> None:
    """Publish all cameras together until stopped."""
    rclpy.init(args=[])
    node = rclpy.create_node("cameras")
    cameras = [SyntheticCamera(node, kind, RAW_HEIGHT, RAW_WIDTH, seed) for kind in KINDS]
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        due = max(due + 1.0 / rate_hz, time.monotonic())
        for camera in cameras:
            camera.publish()
    node.destroy_node()
    rclpy.try_shutdown()


class Sink:
    """The policy's input: synchronised, converted frames."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("sink")
        self._bridge = CvBridge()
        inputs = {
            kind: Subscriber(self.node, Image, f"{kind}/image", qos_profile=qos_profile_sensor_data)
            for kind in KINDS
        }
        self.monitor = StatusMonitor(self.node, KINDS)
        self._synchronizer = StreamSynchronizer(
            self.node, inputs, slop_s=SLOP_S, max_wait_s=MAX_WAIT_S, statuses=self.monitor
        )
        self._synchronizer.registerCallback(self._on_set)
        self.latencies_ms: list[float] = []
        self.frames = dict.fromkeys(KINDS, 0)

    def _on_set(self, made) -> None:
        messages = {kind: m for kind, m in made.messages.items() if m is not None}
        for kind, message in messages.items():
            self._bridge.imgmsg_to_cv2(message)
            self.frames[kind] += 1
        now_ns = self.node.get_clock().now().nanoseconds
        # The slowest path counts: from the first of the set's publications.
        first_ns = min(Time.from_msg(m.header.stamp).nanoseconds for m in messages.values())
        self.latencies_ms.append((now_ns - first_ns) / 1e6)

    def start(self) -> None:
        self.latencies_ms.clear()
        self.frames = dict.fromkeys(KINDS, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{machine()}; seed {arguments.seed}")

    table = write_stream_table(KINDS, arguments.rate, SIZE)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    source = context.Process(target=publish, args=(arguments.rate, arguments.seed, stop))
    source.start()
    rclpy.init(args=[])
    sink = Sink()
    executor = SingleThreadedExecutor()
    executor.add_node(sink.node)
    with ExitStack() as stack:
        stack.callback(source.join)
        stack.callback(stop.set)
        nodes = {
            kind: stack.enter_context(NodeProcess(f"{kind}_node", streams_file=table))
            for kind in KINDS
        }
        deadline = time.monotonic() + 30.0
        while not all(sink.monitor.alive(kind) for kind in KINDS):
            if time.monotonic() > deadline:
                raise SystemExit("the streams are not healthy after 30 s")
            executor.spin_once(timeout_sec=0.1)
        settled = time.monotonic() + 2.0
        while time.monotonic() < settled:
            executor.spin_once(timeout_sec=0.1)

        sink.start()
        cpu_before_s = {kind: node.cpu_s() for kind, node in nodes.items()}
        started = time.monotonic()
        while time.monotonic() < started + arguments.seconds:
            executor.spin_once(timeout_sec=0.1)
        elapsed_s = time.monotonic() - started
        cpu = {
            kind: (node.cpu_s() - cpu_before_s[kind]) / elapsed_s for kind, node in nodes.items()
        }

    latencies = np.array(sink.latencies_ms)
    median, p99 = np.median(latencies), np.quantile(latencies, 0.99)
    rates = {kind: sink.frames[kind] / elapsed_s for kind in KINDS}
    print(
        f"{len(latencies)} sets in {elapsed_s:.0f} s: added latency median {median:.1f} ms "
        f"(target {MEDIAN_TARGET_MS:g}), 99 % {p99:.1f} ms (target {P99_TARGET_MS:g}), "
        f"max {latencies.max():.1f} ms"
    )
    for kind in KINDS:
        print(
            f"{kind:8s} {rates[kind]:5.2f} frames/s in sets, {rates[kind] / arguments.rate:.1%} "
            f"(target {RATE_TARGET:.0%}); node: {cpu[kind]:.1%} of a core"
        )
    passed = (
        median < MEDIAN_TARGET_MS
        and p99 < P99_TARGET_MS
        and all(rate >= RATE_TARGET * arguments.rate for rate in rates.values())
    )
    print(f"{machine()}; {'all targets met' if passed else 'a target was missed'}")
    sink.node.destroy_node()
    rclpy.try_shutdown()
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
