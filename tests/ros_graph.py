"""A ROS graph for node tests: real rclpy, real DDS, waiting for conditions and never for times."""

import time
from collections.abc import Callable

import pytest
import rclpy
from patience import HANG_S
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node


class Graph:
    """Nodes of one test on one executor.

    Add nodes under test with `add`, talk to them through `probe`, advance with `spin_until`.
    """

    def __init__(self) -> None:
        self.executor = SingleThreadedExecutor()
        self.nodes: list[Node] = []
        self.probe = self.add(rclpy.create_node("probe"))

    def add(self, node: Node) -> Node:
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def spin_until(self, condition: Callable[[], bool], timeout_s: float = HANG_S) -> None:
        """Spin until `condition` holds; fail the test after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"condition not met within {timeout_s} s")
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, service_type, name: str, request=None, timeout_s: float = HANG_S):
        """Call a service through the probe and return its response."""
        client = self.probe.create_client(service_type, name)
        self.spin_until(client.service_is_ready, timeout_s)
        future = client.call_async(request or service_type.Request())
        self.spin_until(future.done, timeout_s)
        return future.result()

    def close(self) -> None:
        for node in reversed(self.nodes):
            self.executor.remove_node(node)
            node.destroy_node()
        self.executor.shutdown()


@pytest.fixture
def graph():
    rclpy.init()
    graph = Graph()
    yield graph
    graph.close()
    rclpy.try_shutdown()
