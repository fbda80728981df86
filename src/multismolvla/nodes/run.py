"""Running one node as a process: a clean end on Ctrl-C, one clear line for bad input."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

# Python notices a signal only between two waits for messages.
SIGNAL_LATENCY_S = 0.1


def run(create_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Spin one node until SIGINT or SIGTERM; return the exit status of the process.

    A `ValueError` while the node is being made is bad configuration: it is printed as one line,
    without a traceback, and the process ends with status 2. A node with a method `close` has it
    called before it is destroyed, while its publishers still work: rclpy's own signal handlers
    would invalidate them first.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    node = None
    try:
        node = create_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while True:
            executor.spin_once(timeout_sec=SIGNAL_LATENCY_S)
    except ValueError as error:
        if node is not None:
            raise
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        # A second Ctrl-C must not cut the closing short; the launch system kills what hangs.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if hasattr(node, "close"):
            node.close()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
