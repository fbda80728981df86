"""Real nodes as processes for a benchmark, and what their work costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def prepare_environment() -> None:
    """Give this process and its children an own ROS domain and the image transport profile.

    Call before rclpy is imported. What is set already stays: a child that imports the benchmark
    again must end up in its parent's domain.
    """
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="multismolvla_bench_"))
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds.xml"))


def machine() -> str:
    """Say how busy the machine is: a number without it means nothing."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, load average {load}"


def write_stream_table(kinds: tuple[str, ...], rate_hz: float, size: tuple[int, int]) -> Path:
    """Write a stream table with one stream of each kind, conditioned to (height, width)."""
    path = Path(tempfile.mkdtemp(prefix="multismolvla_bench_")) / "streams.yaml"
    streams = [
        {"name": kind, "kind": kind, "height": size[0], "width": size[1], "rate_hz": rate_hz}
        | {"frame_id": "camera_optical_frame"}
        for kind in kinds
    ]
    path.write_text(yaml.safe_dump({"streams": streams}))
    return path


class NodeProcess:
    """One node of the package in a process of its own; ends with the context."""

    def __init__(self, node: str, **parameters) -> None:
        arguments = [f"{name}:={value}" for name, value in parameters.items()]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"from multismolvla.nodes.{node} import main; raise SystemExit(main())",
                "--ros-args",
                *(word for argument in arguments for word in ("-p", argument)),
                *("--log-level", "fatal"),
            ]
        )

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def cpu_s(self) -> float:
        """Processor time used so far, seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
