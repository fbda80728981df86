"""A node for the time of one command, what it sees of the ROS graph, and the QoS that fits."""

import importlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from ros2cli.cli import CommandError

# Discovery takes from nothing to the 3 s between the announcements of a running participant.
DISCOVERY_S = 4.0
_T = TypeVar("_T")


@contextmanager
def cli_node(name: str = "", **kwargs: Any) -> Iterator[Node]:
    """Yield a node, hidden unless named; SIGINT and SIGTERM become KeyboardInterrupt."""
    rclpy.init(args=[])
    name = name or f"_ros2cli_{os.getpid()}"
    try:
        yield rclpy.create_node(name, start_parameter_services=False, enable_rosout=False, **kwargs)
    except (ExternalShutdownException, RCLError):
        if rclpy.ok():
            raise
        raise KeyboardInterrupt from None  # rclpy's signal handler took the context away.
    finally:
        rclpy.try_shutdown()


def wait_for(find: Callable[[], _T], timeout_s: float | None = None) -> _T:
    """Return the first true result of `find`, or the last one when DISCOVERY_S are over."""
    deadline = time.monotonic() + (DISCOVERY_S if timeout_s is None else timeout_s)
    while not (found := find()) and rclpy.ok() and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(0.02, left))
    return found


def settled(node: Node, observe: Callable[[], _T], quiet_s: float = 0.8) -> _T:
    """Return what `observe` sees once other nodes are known and nothing changes for a while."""
    wait_for(lambda: len(node.get_node_names()) > 1)
    seen, since = observe(), time.monotonic()
    while rclpy.ok() and time.monotonic() - since < quiet_s:
        time.sleep(0.02)
        if (now := observe()) != seen:
            seen, since = now, time.monotonic()
    return seen


def spin_until(node: Node, future: Future, timeout_s: float | None = None) -> Any:
    """Return the result of a future; CommandError if it does not come in time."""
    rclpy.spin_until_future_complete(node, future, timeout_sec=timeout_s)
    if not rclpy.ok():
        raise KeyboardInterrupt
    if not future.done():
        raise CommandError(f"no answer within {timeout_s} s")
    return future.result()


def import_interface(name: str, kind: str) -> type:
    """Return the class of `package/kind/Name` or `package/Name`; kind is msg or srv."""
    package, *middle, interface = name.split("/")
    try:
        if middle not in ([], [kind]):
            raise AttributeError
        return getattr(importlib.import_module(f"{package}.{kind}"), interface)
    except (ImportError, AttributeError, ValueError):
        raise CommandError(
            f"unknown type '{name}': expected package/{kind}/Name of an installed package"
        ) from None


def full_name(name: str) -> str:
    return "/" + name.lstrip("/")


def is_hidden(name: str) -> bool:
    return any(part.startswith("_") for part in name.split("/"))


def print_names(found: Iterable[tuple[str, list[str]]], show_types: bool) -> None:
    """Print the names that are not hidden, with their types where wanted."""
    for name, types in found:
        if not is_hidden(name):
            print(f"{name} [{', '.join(types)}]" if show_types else name)


def topic_types(node: Node, topic: str) -> list[str]:
    """Return the names of a topic's types; CommandError if nobody knows it."""
    types = wait_for(lambda: dict(node.get_topic_names_and_types()).get(topic))
    if not types:
        raise CommandError(f"unknown topic '{topic}': nobody publishes or subscribes to it")
    return types


def topic_class(node: Node, topic: str, type_name: str | None = None) -> type:
    """Return a topic's message class, when its publishers are known too.

    With `type_name` nobody needs to know the topic yet.
    """
    message = import_interface(type_name or topic_types(node, topic)[0], "msg")
    wait_for(lambda: node.count_publishers(topic), 0.5)
    return message


def merged_qos(offers: Sequence[tuple[int, int]], depth: int) -> QoSProfile:
    """Return reliable, transient local only where every (reliability, durability) is."""
    qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
    if offers and all(offer[0] == ReliabilityPolicy.RELIABLE for offer in offers):
        qos.reliability = ReliabilityPolicy.RELIABLE
    if offers and all(offer[1] == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers):
        qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return qos


def matching_qos(node: Node, topic: str, depth: int) -> QoSProfile:
    """Return the strongest subscription QoS that all publishers of a topic satisfy."""
    offers = [info.qos_profile for info in node.get_publishers_info_by_topic(topic)]
    return merged_qos([(qos.reliability, qos.durability) for qos in offers], depth)
