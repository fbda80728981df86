"""What the page in the browser costs the stack: processor time of web_monitor, watched and not.

This process says what a whole stack says, at the rates of the shipped stream table: statuses, joint
states and images. With a Chromium on the machine it then opens the page and measures again.

    ./run python benchmarks/web_monitor_cost.py --seconds 20
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from node_process import ROOT, NodeProcess, machine, prepare_environment

prepare_environment()
sys.path[:0] = [str(ROOT / "tests/web"), str(ROOT / "packages/ros2_portable/tests")]

import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from cv_bridge import CvBridge  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue  # noqa: E402
from headless_chromium import find_chromium, open_tab  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import Image, JointState  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from multismolvla.embodiment.so101 import SO101  # noqa: E402
from multismolvla.nodes.policy_inputs import ENCODINGS  # noqa: E402
from multismolvla.nodes.status_message import to_message  # noqa: E402
from multismolvla.sensing.health import HealthReport, State  # noqa: E402
from multismolvla.streams import load_stream_table  # noqa: E402

PORT = 8765
TARGET = 0.10
GOOD = HealthReport(State.OK, (), "", 15.0, 0.01, 100)


class Stack:
    """Publishes what the nodes of a stack would."""

    def __init__(self) -> None:
        self._node = node = rclpy.create_node("stack")
        self._table = load_stream_table(ROOT / "config" / "streams.yaml")
        self._bridge, rng = CvBridge(), np.random.default_rng(0)
        self._due: list[tuple[float, float, Callable[[], None]]] = []
        for stream in self._table:
            size = (stream.height, stream.width)
            frame = {
                "rgb": rng.integers(0, 255, (*size, 3), np.uint8),
                "segmentation": rng.integers(0, 8, size, np.uint8),
            }.get(stream.kind, rng.random(size).astype(np.float32))
            image = self._bridge.cv2_to_imgmsg(
                frame, ENCODINGS[stream.kind], Header(frame_id=stream.frame_id)
            )
            images = node.create_publisher(Image, f"{stream.name}/image", qos_profile_sensor_data)
            self._every(stream.rate_hz, lambda p=images, m=image: p.publish(m))
            health = node.create_publisher(DiagnosticArray, f"{stream.name}/status", 1)
            self._every(5.0, lambda p=health, s=stream.name: p.publish(self._health(s)))
        masks = {f"mask.{name}": "1" for name in self._table.names}
        self._inferences = 0
        policy = node.create_publisher(DiagnosticArray, "policy/status", 1)
        self._every(10.0, lambda: policy.publish(self._policy(masks)))
        driver = node.create_publisher(DiagnosticArray, "so101_driver/status", 1)
        read = {f"{what}.{joint}": "12.0" for what in "vtc" for joint in SO101.joint_names}
        arm = _status(state="TRACKING", torque="1", **read)
        self._every(5.0, lambda: driver.publish(arm))
        joints = node.create_publisher(JointState, "joint_states", 1)
        self._every(100.0, lambda: joints.publish(self._joints()))

    def _every(self, rate_hz: float, publish: Callable[[], None]) -> None:
        self._due.append((time.monotonic(), 1.0 / rate_hz, publish))

    def _health(self, stream: str) -> DiagnosticArray:
        return to_message(stream, "stack", GOOD, self._node.get_clock().now())

    def _policy(self, masks: dict[str, str]) -> DiagnosticArray:
        self._inferences += 1
        values = {"mode": "running", "task": "bench", "queue_s": f"{self._inferences % 9 / 10}"}
        values |= {"latency_ms": "30.0", "inferences": str(self._inferences)}
        return _status(**values, **masks)

    def _joints(self) -> JointState:
        moved = SO101.home_rad + 0.3 * np.sin(time.monotonic())
        return JointState(name=list(SO101.joint_names), position=moved.tolist())

    def run(self, seconds: float) -> float:
        """Publish for so long; return the share of the messages that could be sent in time."""
        end_s = time.monotonic() + seconds
        self._due = [(time.monotonic(), period_s, publish) for _, period_s, publish in self._due]
        sent = expected = 0
        while (now_s := time.monotonic()) < end_s:
            for index, (due_s, period_s, publish) in enumerate(self._due):
                if now_s >= due_s:
                    missed = int((now_s - due_s) / period_s)
                    self._due[index] = (due_s + (1 + missed) * period_s, period_s, publish)
                    publish()
                    sent, expected = sent + 1, expected + 1 + missed
            time.sleep(0.002)
        return sent / expected


def _status(**values: str) -> DiagnosticArray:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticArray(
        status=[DiagnosticStatus(name="x", level=DiagnosticStatus.OK, values=pairs)]
    )


def served(url: str) -> bool:
    """Whether the page answers."""
    try:
        with urllib.request.urlopen(url, timeout=30):
            return True
    except OSError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    print(machine())
    rclpy.init()
    stack, url = Stack(), f"http://127.0.0.1:{PORT}"
    shares = {}
    with NodeProcess("web_monitor", port=PORT) as page:
        while not served(url):
            stack.run(0.2)
        browsers = {"nobody": nullcontext}
        if find_chromium() is not None:
            profile = Path(tempfile.mkdtemp(prefix="multismolvla_bench_"))
            browsers["one browser"] = lambda: open_tab(url, profile, (320, 240))
        for name, browser in browsers.items():
            with browser():
                stack.run(5.0)
                before_s, start_s = page.cpu_s(), time.monotonic()
                in_time = stack.run(arguments.seconds)
                shares[name] = (page.cpu_s() - before_s) / (time.monotonic() - start_s)
                print(
                    f"watched by {name}: {shares[name]:.1%} of a core over {arguments.seconds:.0f}"
                    f" s, {in_time:.1%} of the messages sent in time; {machine()}"
                )
    rclpy.try_shutdown()
    return 0 if shares["nobody"] < TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
