"""The latency that the fault injector adds between a camera and its sensor node.

One process publishes 640x480 RGB, depth and thermal at 30 Hz, the real injector passes them on, and
a sink notes when each image arrives from the camera and when it arrives through the injector.

    ./run python benchmarks/injector_latency.py --seconds 20
    ./run python benchmarks/injector_latency.py --fault noise
"""

from __future__ import annotations

import argparse
import multiprocessing
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack

from node_process import NodeProcess, machine, prepare_environment, write_stream_table

prepare_environment()

import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from camera_latency import KINDS, RAW_HEIGHT, RAW_WIDTH, SIZE, publish  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

MEDIAN_TARGET_MS = 3.0


class Sink:
    """Notes arrivals by kind and stamp; images stay as they came, so that reading costs nothing."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("sink")
        self.direct: dict[tuple[str, bytes], float] = {}
        self.passed: dict[tuple[str, bytes], float] = {}
        for kind in KINDS:
            self._listen(kind, f"{kind}/image_raw", self.direct)
            self._listen(kind, f"{kind}/faulty/image_raw", self.passed)

    def _listen(self, kind: str, topic: str, into: dict[tuple[str, bytes], float]) -> None:
        def receive(data: bytes) -> None:
            # The stamp stands behind the four bytes that name the encoding of the message.
            into[kind, struct.unpack_from("<8s", data, 4)[0]] = time.monotonic()

        self.node.create_subscription(Image, topic, receive, qos_profile_sensor_data, raw=True)

    def clear(self) -> None:
        self.direct.clear()
        self.passed.clear()

    def added_ms(self, kind: str) -> np.ndarray:
        """How much later images came through the injector."""
        both = [key for key in self.direct if key[0] == kind and key in self.passed]
        return np.array([(self.passed[key] - self.direct[key]) * 1e3 for key in both])


def spin(executor: SingleThreadedExecutor, until: Callable[[], bool], timeout_s: float) -> bool:
    """Spin until a condition holds; return whether it did in time."""
    deadline = time.monotonic() + timeout_s
    while not until():
        if time.monotonic() > deadline:
            return False
        executor.spin_once(timeout_sec=0.1)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", default="none", help="of every stream (default: idle)")
    arguments = parser.parse_args()
    print(f"{machine()}; seed {arguments.seed}")

    table = write_stream_table(KINDS, arguments.rate, SIZE)
    faults = {f"{kind}.fault": arguments.fault for kind in KINDS}
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
        node = stack.enter_context(NodeProcess("fault_injector", streams_file=table, **faults))
        if not spin(executor, lambda: len({kind for kind, _ in sink.passed}) == len(KINDS), 30.0):
            raise SystemExit("nothing came through the injector for 30 s")
        spin(executor, lambda: False, 2.0)
        sink.clear()
        cpu_before_s, started = node.cpu_s(), time.monotonic()
        spin(executor, lambda: False, arguments.seconds)
        cpu = (node.cpu_s() - cpu_before_s) / (time.monotonic() - started)

    added = {kind: sink.added_ms(kind) for kind in KINDS}
    for kind, values in added.items():
        seen = sum(key[0] == kind for key in sink.direct)
        print(
            f"{kind:8s} {RAW_WIDTH}x{RAW_HEIGHT}: added latency median {np.median(values):.2f} ms, "
            f"99 % {np.quantile(values, 0.99):.2f} ms, {len(values)} of {seen} images"
        )
    median = float(np.median(np.concatenate(list(added.values()))))
    passed = median < MEDIAN_TARGET_MS
    print(f"injector with fault '{arguments.fault}': {cpu:.1%} of a core")
    print(
        f"{machine()}; median {median:.2f} ms, target {MEDIAN_TARGET_MS:g}: "
        f"{'met' if passed else 'missed'}"
    )
    sink.node.destroy_node()
    rclpy.try_shutdown()
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
