"""How steady the control output is while a policy takes a second of Python per inference.

Runs policy_node as a process of its own, feeds it 8 image streams at 15 Hz with statuses and
100 Hz joint states from this process, and looks at `joint_trajectory`.

    ./run python benchmarks/control_period.py [--seconds 60]

Targets: 99 % of the periods within 5 ms of 20 ms, by the stamps in the messages; no starved tick
after the first chunk.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

# Before rclpy: the bench must not meet another graph.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

import numpy as np
import rclpy
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from multismolvla.embodiment.so101 import SO101
from multismolvla.streams import load_stream_table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PERIOD_S, TOLERANCE_S = 0.020, 0.005
PIXELS = {
    "rgb": ("rgb8", np.full((96, 96, 3), 120, np.uint8)),
    "depth": ("32FC1", np.full((96, 96), 0.7, np.float32)),
    "thermal": ("32FC1", np.full((96, 96), 22.0, np.float32)),
    "segmentation": ("mono8", np.ones((96, 96), np.uint8)),
}


class Bench(Node):
    """A robot's worth of publishers, and the arrival of every trajectory."""

    def __init__(self) -> None:
        super().__init__("control_period_bench")
        self.stamps_s, self.receipts_s, self.status = [], [], {}
        self._values = {"state": "OK", "reason": "", "rate_hz": "15", "age_s": "0", "frames": "9"}
        bridge, table = CvBridge(), load_stream_table(ROOT / "config" / "streams.yaml")
        self._streams = []
        for stream in table:
            encoding, pixels = PIXELS[stream.kind]
            self._streams.append(
                (
                    stream.name,
                    bridge.cv2_to_imgmsg(pixels, encoding),
                    self.create_publisher(Image, f"{stream.name}/image", qos_profile_sensor_data),
                    self.create_publisher(DiagnosticArray, f"{stream.name}/status", 1),
                )
            )
        self._joints = self.create_publisher(JointState, "joint_states", 1)
        self.create_timer(1 / 15, self._send_images)
        self.create_timer(1 / 5, self._send_statuses)
        self.create_timer(1 / 100, self._send_joints)
        self.create_subscription(JointTrajectory, "joint_trajectory", self._on_trajectory, 1)
        self.create_subscription(DiagnosticArray, "policy/status", self._on_status, 1)

    def _send_images(self) -> None:
        stamp = self.get_clock().now().to_msg()
        for _, image, publisher, _ in self._streams:
            image.header.stamp = stamp
            publisher.publish(image)

    def _send_statuses(self) -> None:
        values = [KeyValue(key=key, value=value) for key, value in self._values.items()]
        for name, _, _, publisher in self._streams:
            status = DiagnosticStatus(name=name, values=values)
            publisher.publish(DiagnosticArray(status=[status]))

    def _send_joints(self) -> None:
        message = JointState(name=list(SO101.joint_names), position=SO101.home_rad.tolist())
        message.header.stamp = self.get_clock().now().to_msg()
        self._joints.publish(message)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        self.receipts_s.append(time.monotonic())
        self.stamps_s.append(message.header.stamp.sec + message.header.stamp.nanosec * 1e-9)

    def _on_status(self, message: DiagnosticArray) -> None:
        self.status = {pair.key: pair.value for pair in message.status[0].values}


def periods(times_s: list[float]) -> dict[str, float]:
    """Share of periods within the tolerance, median, 99th percentile and largest, ms."""
    gaps = np.diff(times_s)
    within = np.abs(gaps - PERIOD_S) <= TOLERANCE_S
    return {
        "within_5_ms": round(float(within.mean()), 4),
        "median_ms": round(float(np.median(gaps)) * 1e3, 2),
        "p99_ms": round(float(np.percentile(gaps, 99)) * 1e3, 2),
        "max_ms": round(float(gaps.max()) * 1e3, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="time measured")
    parser.add_argument(
        "--policy",
        default="slow_policies:BusyPolicy",
        help="policy, or module:Class beside this file",
    )
    arguments = parser.parse_args()
    command = [
        *(sys.executable, "-c", "from multismolvla.nodes.policy_node import main; main()"),
        *("--ros-args", "-p", f"policy:={arguments.policy}", "-p", "task:=bench"),
        *("-p", f"streams_file:={ROOT / 'config' / 'streams.yaml'}"),
    ]
    rclpy.init()
    bench = Bench()
    executor = SingleThreadedExecutor()
    executor.add_node(bench)
    # In this folder, so that the policy beside this file can be imported.
    process = subprocess.Popen(command, cwd=HERE)
    try:
        deadline = time.monotonic() + 60.0
        while len(bench.stamps_s) < 100 and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.1)
        if len(bench.stamps_s) < 100:
            print(f"error: no joint_trajectory within 60 s; status: {bench.status}")
            return 1
        del bench.stamps_s[:], bench.receipts_s[:]
        end = time.monotonic() + arguments.seconds
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
    finally:
        process.terminate()
        process.wait(10.0)
        bench.destroy_node()
        rclpy.try_shutdown()
    by_stamp = periods(bench.stamps_s)
    starved = int(bench.status["starved_ticks"])
    print(
        json.dumps(
            {
                "messages": len(bench.stamps_s),
                "expected": round(arguments.seconds / PERIOD_S),
                "period_by_stamp": by_stamp,
                "period_by_receipt": periods(bench.receipts_s),
                "starved_ticks": starved,
                "inferences": int(bench.status["inferences"]),
                "latency_ms": float(bench.status["latency_ms"]),
                "threshold": float(bench.status["threshold"]),
                "load_1_min": os.getloadavg()[0],
                "cores": os.cpu_count(),
            },
            indent=2,
        )
    )
    return 0 if by_stamp["within_5_ms"] >= 0.99 and starved == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
