"""Placeholder for a misconfigured node, where the launch file would restart it."""

from __future__ import annotations

import os
import threading

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from multismolvla.nodes.diagnostics import DIAGNOSTICS_PERIOD_S, Diagnostics, Task

# Set by the launch file. A process that ended would be started again, and would fail again.
SUPERVISED = "MULTISMOLVLA_SUPERVISED"
# Value of `state` in the report: no waiting will help.
MISCONFIGURED = "MISCONFIGURED"


def is_supervised() -> bool:
    """Whether this process would be started again."""
    return SUPERVISED in os.environ


def report_misconfigured(reason: str, name: str, namespace: str | None = None) -> Node:
    """Return a node that reports `reason` as an error on `/diagnostics` as long as it spins."""
    # The node that failed may still hold the name on rosout.
    node = rclpy.create_node(name, namespace=namespace, enable_rosout=False)
    diagnostics = Diagnostics(node, "configuration")
    task = Task("configuration", DiagnosticStatus.ERROR, reason, {"state": MISCONFIGURED})
    node.create_timer(DIAGNOSTICS_PERIOD_S, lambda: diagnostics.publish(task))
    return node


def wait_misconfigured(reason: str, stop: threading.Event) -> None:
    """Report `reason` until `stop`; return at once unsupervised.

    The stand-in bears the node's own name and namespace, which come from the command line.
    """
    if not is_supervised():
        return
    if not rclpy.ok():
        # Even the command line is wrong, so there is no name to report under.
        stop.wait()
        return
    node = report_misconfigured(reason, "misconfigured")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not stop.is_set():
        executor.spin_once(timeout_sec=0.1)
    node.destroy_node()
