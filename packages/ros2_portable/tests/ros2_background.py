"""A ROS node beside the command under test, in a context and a thread of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from patience import HANG_S
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

# How the installed `ros2` script starts, without the need for it on the PATH.
ROS2 = [sys.executable, "-c", "import sys; from ros2cli.cli import main; sys.exit(main())"]


@contextmanager
def background_node(name: str) -> Iterator[Node]:
    """Yield a node that spins in a thread."""
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(name, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield node
    finally:
        over.set()
        thread.join()
        executor.remove_node(node)
        node.destroy_node()
        executor.shutdown()
        rclpy.shutdown(context=context)


def wait_until(condition: Callable[[], object], timeout_s: float = HANG_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"condition not met within {timeout_s} s"
        threading.Event().wait(0.01)


@contextmanager
def ros2_process(*arguments: object) -> Iterator[subprocess.Popen]:
    """Yield a running `ros2 arguments...` with its output as text; kill what is left of it."""
    process = subprocess.Popen(
        [*ROS2, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read_until(process: subprocess.Popen, text: str) -> str:
    """Return the output up to the line that contains `text`."""
    output = ""
    while text not in output:
        line = process.stdout.readline()
        assert line, f"the command ended without {text!r}: {output}"
        output += line
    return output


def interrupted(process: subprocess.Popen, number: int = signal.SIGINT) -> tuple[int, str]:
    """Send Ctrl-C; return the exit status and the rest of the output."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=HANG_S)
    return process.returncode, output
