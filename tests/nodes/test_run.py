"""A node as a process: bad configuration is one line, and never a crash loop."""

import os
import signal
import subprocess
import sys

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from patience import HANG_S

from multismolvla.nodes.misconfigured import SUPERVISED

# Tests that run under nohup would hand on that SIGHUP is ignored.
RGB_NODE = (
    "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "from multismolvla.nodes.rgb_node import main; raise SystemExit(main())"
)


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", RGB_NODE, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def parameter_file(tmp_path, text: str) -> list[str]:
    path = tmp_path / "parameters.yaml"
    path.write_text(text)
    return ["--ros-args", "--params-file", str(path)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("/**:\n  ros__parameters:\n    streem: rgb\n", "unknown parameter 'streem'"),
        ("/**:\n  ros__parameters:\n    stream: rbg\n", "unknown stream 'rbg'"),
        ("/**:\n  ros__parameters:\n    stream: [rgb\n", "parameters.yaml"),
    ],
)
def test_bad_configuration_is_one_line_and_status_2(tmp_path, text, named):
    process = start(*parameter_file(tmp_path, text))
    _, printed = process.communicate(timeout=HANG_S)
    assert process.returncode == 2
    # rcl logs a line of its own about a file that is not YAML.
    lines = [line for line in printed.splitlines() if "[rcl]" not in line]
    assert len(lines) == 1 and lines[0].startswith("error: ") and named in lines[0], printed


def test_a_supervised_node_reports_its_configuration_instead_of_ending(graph, tmp_path):
    reports = []
    graph.probe.create_subscription(DiagnosticArray, "/diagnostics", reports.append, 10)
    arguments = parameter_file(tmp_path, "/**:\n  ros__parameters:\n    streem: rgb\n")
    process = start(*arguments, "-r", "__ns:=/wrist", "-r", "__node:=rgb_node", **{SUPERVISED: "1"})
    try:
        graph.spin_until(lambda: len(reports) >= 2)
        status = reports[0].status[0]
        assert status.level == status.ERROR
        assert status.name == "/wrist/rgb_node: configuration"
        assert "unknown parameter 'streem'" in status.message
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=HANG_S)
    assert process.returncode == 2
    assert printed.count("\n") == 1, printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_node_quietly(graph, number):
    reports = []
    graph.probe.create_subscription(DiagnosticArray, "rgb/status", reports.append, 10)
    process = start()
    try:
        graph.spin_until(lambda: reports)
    finally:
        process.send_signal(number)
        _, printed = process.communicate(timeout=HANG_S)
    assert process.returncode == 0
    assert "Traceback" not in printed
