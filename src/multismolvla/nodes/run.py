"""Running one node as a process: a clean end on Ctrl-C, one clear line for bad input."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from multismolvla.nodes.misconfigured import wait_misconfigured

# Python notices a signal only between two waits for messages.
SIGNAL_LATENCY_S = 0.1


def stop_on_signal() -> threading.Event:
    """Return an event that SIGINT and SIGTERM set from now on, instead of raising.

    So does SIGHUP, a terminal that is closed, unless nohup had it ignored.

    An exception out of a signal handler would surface in the middle of whatever runs, where rclpy's
    bindings turn it into errors that have nothing to do with it.
    """
    stop = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, lambda *_: stop.set())
    return stop


def _init(args: Sequence[str] | None) -> None:
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        # rclpy's word for arguments and parameter files that it cannot parse.
        raise ValueError(" ".join(str(error).split())) from None


def run(create_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Spin one node until SIGINT or SIGTERM; return the exit status of the process.

    A `ValueError` while the node is being made is bad configuration: it is printed as one line,
    without a traceback, and the process ends with status 2; under the launch file, which would
    start it again, it stays and reports the error instead. A node with a method `close` has it
    called before it is destroyed, while its publishers still work: rclpy's own signal handlers
    would invalidate them first.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _init(args)
        node = create_node()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        wait_misconfigured(str(error), stop_on_signal())
        rclpy.try_shutdown()
        return 2
    except KeyboardInterrupt:
        rclpy.try_shutdown()
        return 0
    stop = stop_on_signal()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stop.is_set():
            executor.spin_once(timeout_sec=SIGNAL_LATENCY_S)
    except ExternalShutdownException:
        pass
    finally:
        if hasattr(node, "close"):
            node.close()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0
