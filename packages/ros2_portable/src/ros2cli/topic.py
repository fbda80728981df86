"""ros2 topic: show, print, measure and publish topics."""

import argparse
import statistics
import time
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from ros2cli import graph
from ros2cli.cli import CommandError, argument, verb
from ros2cli.interface_yaml import LONG, from_yaml, select_field, to_plain, to_yaml

_POLICIES = {"reliability": ReliabilityPolicy, "durability": DurabilityPolicy}
_QOS = [argument(f"--qos-{name}", choices=each.short_keys()) for name, each in _POLICIES.items()]


def _chosen(args: argparse.Namespace, qos: QoSProfile) -> QoSProfile:
    """Return `qos` with what the arguments _QOS change."""
    for name, policy in _POLICIES.items():
        if key := getattr(args, f"qos_{name}"):
            setattr(qos, name, policy.get_from_short_key(key))
    return qos


@verb("topic list", argument("-t", "--show-types", action="store_true"))
def list_topics(args: argparse.Namespace) -> None:
    """List the topics."""
    with graph.cli_node() as node:
        graph.print_names(graph.settled(node, node.get_topic_names_and_types), args.show_types)


@verb(
    "topic info",
    argument("topic_name"),
    argument("-v", "--verbose", action="store_true", help="also nodes and QoS"),
)
def info(args: argparse.Namespace) -> None:
    """Print the type, the publishers and the subscriptions of a topic."""
    topic = graph.full_name(args.topic_name)
    with graph.cli_node() as node:
        types = graph.topic_types(node, topic)
        queries = (node.get_publishers_info_by_topic, node.get_subscriptions_info_by_topic)
        ends = graph.settled(
            node, lambda: [[str(end) for end in query(topic)] for query in queries]
        )
    gap = "\n\n" if args.verbose else "\n"
    print(f"Type: {types[0] if len(types) == 1 else types}", end=gap)
    for label, infos in zip(("Publisher", "Subscription"), ends, strict=True):
        print(f"{label} count: {len(infos)}", *(infos if args.verbose else []), sep=gap, end=gap)


@verb(
    "topic echo",
    argument("topic_name"),
    argument("message_type", nargs="?", help="such as std_msgs/msg/String, for a topic to come"),
    argument("--once", action="store_true", help="exit after the first message"),
    argument("--field", default="", help="only this part, such as header.stamp"),
    argument("--no-arr", action="store_true", help="no array contents"),
    argument("-f", "--full-length", action="store_true", help="cut nothing"),
    *_QOS,
)
def echo(args: argparse.Namespace) -> None:
    """Print the messages of a topic as YAML."""
    finished = Future()

    def show(msg: Any) -> None:
        if not finished.done():
            value, length = select_field(msg, args.field), None if args.full_length else LONG
            print(f"{to_yaml(to_plain(value, length, args.no_arr, args.field))}---", flush=True)
            if args.once:
                finished.set_result(None)

    with graph.cli_node() as node:
        topic = graph.full_name(args.topic_name)
        message = graph.topic_class(node, topic, args.message_type)
        qos = _chosen(args, graph.matching_qos(node, topic, depth=10))
        node.create_subscription(message, topic, show, qos)
        graph.spin_until(node, finished)


def rate_report(arrivals_s: Sequence[float]) -> str:
    """What `topic hz` says of two or more arrivals."""
    gaps = [later - earlier for earlier, later in pairwise(arrivals_s)]
    return (
        f"average rate: {1 / statistics.fmean(gaps):.3f}\n"
        f"\tmin: {min(gaps):.3f}s max: {max(gaps):.3f}s "
        f"std dev: {statistics.pstdev(gaps):.5f}s window: {len(gaps)}"
    )


@verb(
    "topic hz",
    argument("topic_name"),
    argument("-w", "--window", type=int, default=10000, help="messages to average over"),
)
def hz(args: argparse.Namespace) -> None:
    """Print the rate at which messages arrive, every second."""
    topic = graph.full_name(args.topic_name)
    arrivals: deque[float] = deque(maxlen=max(args.window, 1) + 1)
    reported = 0.0

    def report() -> None:
        nonlocal reported
        if len(arrivals) < 2 or arrivals[-1] == reported:
            return
        reported = arrivals[-1]
        print(rate_report(arrivals), flush=True)

    with graph.cli_node() as node:
        message = graph.topic_class(node, topic)
        qos = graph.matching_qos(node, topic, depth=100)
        arrived = lambda _: arrivals.append(time.monotonic())  # noqa: E731
        node.create_subscription(message, topic, arrived, qos, raw=True)
        node.create_timer(1.0, report)
        rclpy.spin(node)


@verb(
    "topic pub",
    argument("topic_name"),
    argument("message_type", help="such as std_msgs/msg/String"),
    argument("values", nargs="?", default="{}", help="the message as YAML"),
    argument("-1", "--once", dest="times", action="store_const", const=1, default=0),
    argument("-t", "--times", type=int, default=0, help="how often; 0 means forever"),
    argument("-r", "--rate", type=float, default=1.0, help="in Hz"),
    *_QOS,
)
def pub(args: argparse.Namespace) -> None:
    """Publish a message forever, or a number of times once somebody listens."""
    if args.rate <= 0:
        raise CommandError(f"--rate {args.rate}: expected more than 0")
    message = graph.import_interface(args.message_type, "msg")
    msg = from_yaml(args.values, message)
    with graph.cli_node() as node:
        qos = _chosen(args, QoSProfile(depth=10))
        publisher = node.create_publisher(message, graph.full_name(args.topic_name), qos)
        while args.times and rclpy.ok() and not publisher.get_subscription_count():
            print("Waiting for at least 1 matching subscription(s)...", flush=True)
            graph.wait_for(publisher.get_subscription_count, 1.0)
        print("publisher: beginning loop", flush=True)
        count, start = 0, time.monotonic()
        while rclpy.ok() and (args.times == 0 or count < args.times):
            count += 1
            print(f"publishing #{count}: {msg!r}\n", flush=True)
            publisher.publish(msg)
            # After the last one too, so that it is sent before the node goes.
            due = start + count / args.rate if count != args.times else time.monotonic() + 0.1
            graph.wait_for(lambda: False, due - time.monotonic())
