"""Running nodes as a process: a clean end on Ctrl-C, one clear line for bad input, no pauses."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from multismolvla.nodes.misconfigured import wait_misconfigured
from multismolvla.one_line import one_line
from multismolvla.priority import freeze_garbage

try:
    from rclpy.experimental import EventsExecutor
except ImportError:  # Jazzy before 2025 has none.
    EventsExecutor = None

# Python notices a signal only between two waits for messages.
SIGNAL_LATENCY_S = 0.1
# Python's default of 5 ms lets a thread that works keep the interpreter from one that must answer
# for a quarter of a control period, each time that thread needs it.
SWITCH_INTERVAL_S = 0.0005


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


def init(args: Sequence[str] | None) -> None:
    """Initialise rclpy, leave signals to `stop_on_signal`, and have threads take turns quickly.

    Raises:
        ValueError: the arguments or a parameter file cannot be parsed.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        # rclpy's word for arguments and parameter files that it cannot parse.
        raise ValueError(one_line(error)) from None


def make_executor() -> Executor:
    """The cheapest executor there is.

    rclpy's SingleThreadedExecutor rebuilds its wait set for every event, which took 35 % of a
    sensor node's processor time and 45 % of the driver's.
    """
    return EventsExecutor() if EventsExecutor is not None else SingleThreadedExecutor()


def spin_some(executor: Executor) -> bool:
    """Serve callbacks for `SIGNAL_LATENCY_S`; False when the context has been shut down.

    Raises:
        whatever a callback raises.
    """
    try:
        # A future of its own each time, for the executor leaves a callback in it. Not `spin`: in
        # the wheels of 7.1.6 it waits for the end of time, which overflows, and never sleeps.
        executor.spin_until_future_complete(Future(), SIGNAL_LATENCY_S)
    except ExternalShutdownException:
        return False
    return rclpy.ok()


def call_soon(node: Node, callback: Callable[[], object]) -> None:
    """Have a node's executor call `callback`; from any thread.

    Instead of a guard condition, which the EventsExecutor refuses: it cannot wait for one.
    """
    executor = node.executor
    if executor is not None:
        executor.create_task(callback)


def log_event(node: Node, severity: str, text: str) -> None:
    """Log what a core reports: `info`, `warning` or `error`; nothing once the process ends."""
    if not node.context.ok():
        return
    # rclpy wants one severity per line of code.
    if severity == "error":
        node.get_logger().error(text)
    elif severity == "warning":
        node.get_logger().warning(text)
    else:
        node.get_logger().info(text)


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
        init(args)
        node = create_node()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        wait_misconfigured(str(error), stop_on_signal())
        rclpy.try_shutdown()
        return 2
    except KeyboardInterrupt:
        rclpy.try_shutdown()
        return 0
    executor = make_executor()
    # After the executor, which has handlers of its own.
    stop = stop_on_signal()
    executor.add_node(node)
    freeze_garbage()
    try:
        while not stop.is_set() and spin_some(executor):
            pass
    finally:
        if hasattr(node, "close"):
            node.close()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0
