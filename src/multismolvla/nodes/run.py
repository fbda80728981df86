"""Running one node as a process: a clean end on Ctrl-C, one clear line for bad input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node


def run(create_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Spin one node until it is shut down; return the exit status of the process.

    A `ValueError` while the node is being made is bad configuration: it is printed as one line,
    without a traceback, and the process ends with status 2. A node with a method `close` has it
    called before it is destroyed.
    """
    rclpy.init(args=args)
    try:
        node = create_node()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        rclpy.try_shutdown()
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if hasattr(node, "close"):
            node.close()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0
