"""Show, print, measure and publish topics."""

import argparse
import statistics
import time
from collections import deque
from itertools import pairwise
from typing import Any

import rclpy
from rclpy.qos import QoSProfile
from rclpy.task import Future
from ros2cli import graph
from ros2cli.cli import CommandError, Verbs, argument
from ros2cli.interface_yaml import from_yaml, select_field, to_csv, to_plain, to_yaml
from ros2cli.qos import QOS_ARGUMENTS, chosen_qos, matching_qos

_verbs = Verbs()
add_arguments, main = _verbs.add_arguments, _verbs.main


@_verbs.verb("list", argument("-t", "--show-types", action="store_true"))
def list_topics(args: argparse.Namespace) -> None:
    """List the topics."""
    with graph.cli_node() as node:
        graph.print_names(graph.settled(node, node.get_topic_names_and_types), args.show_types)


@_verbs.verb(
    "info",
    argument("topic_name"),
    argument("-v", "--verbose", action="store_true", help="also nodes and QoS"),
)
def info(args: argparse.Namespace) -> None:
    """Print the type, the publishers and the subscriptions of a topic."""
    topic = graph.full_name(args.topic_name)
    with graph.cli_node() as node:
        types = graph.wait_for(lambda: dict(node.get_topic_names_and_types()).get(topic))
        if not types:
            raise CommandError(f"unknown topic '{topic}'")
        queries = (node.get_publishers_info_by_topic, node.get_subscriptions_info_by_topic)
        ends = graph.settled(
            node, lambda: [[str(end) for end in query(topic)] for query in queries]
        )
    gap = "\n\n" if args.verbose else "\n"
    print(f"Type: {types[0] if len(types) == 1 else types}", end=gap)
    for label, infos in zip(("Publisher", "Subscription"), ends, strict=True):
        print(f"{label} count: {len(infos)}", *(infos if args.verbose else []), sep=gap, end=gap)


@_verbs.verb(
    "echo",
    argument("topic_name"),
    argument("message_type", nargs="?", help="the topic's own if absent"),
    argument("--once", action="store_true", help="exit after the first message"),
    argument("--field", default="", help="only this part, such as header.stamp"),
    argument("--no-arr", action="store_true", help="no array contents"),
    argument("-f", "--full-length", action="store_true", help="cut nothing"),
    argument("-l", "--truncate-length", type=int, default=128),
    argument("--csv", action="store_true", help="one line of values per message"),
    *QOS_ARGUMENTS,
)
def echo(args: argparse.Namespace) -> None:
    """Print the messages of a topic as YAML."""
    topic = graph.full_name(args.topic_name)
    length = None if args.full_length else args.truncate_length
    finished = Future()

    def show(msg: Any) -> None:
        if finished.done():
            return
        value = select_field(msg, args.field)
        plain = to_plain(value, length, args.no_arr, args.field)
        print(f"{to_csv(plain)}\n" if args.csv else f"{to_yaml(plain)}---\n", end="", flush=True)
        if args.once:
            finished.set_result(None)

    with graph.cli_node() as node:
        message = graph.topic_class(node, topic, args.message_type)
        qos = chosen_qos(args, matching_qos(node, topic, depth=10))
        node.create_subscription(message, topic, show, qos)
        graph.spin_until(node, finished)


@_verbs.verb(
    "hz",
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
        gaps = [later - earlier for earlier, later in pairwise(arrivals)]
        print(
            f"average rate: {1 / statistics.fmean(gaps):.3f}\n"
            f"\tmin: {min(gaps):.3f}s max: {max(gaps):.3f}s "
            f"std dev: {statistics.pstdev(gaps):.5f}s window: {len(gaps)}",
            flush=True,
        )

    with graph.cli_node() as node:
        message = graph.topic_class(node, topic)
        qos = matching_qos(node, topic, depth=100)
        arrived = lambda _: arrivals.append(time.monotonic())  # noqa: E731
        node.create_subscription(message, topic, arrived, qos, raw=True)
        node.create_timer(1.0, report)
        rclpy.spin(node)


@_verbs.verb(
    "pub",
    argument("topic_name"),
    argument("message_type", help="such as std_msgs/msg/String"),
    argument("values", nargs="?", default="{}", help="the message as YAML"),
    argument("-1", "--once", dest="times", action="store_const", const=1, default=0),
    argument("-t", "--times", type=int, default=0, help="how often; 0 means forever"),
    argument("-r", "--rate", type=float, default=1.0, help="in Hz"),
    argument("-w", "--wait-matching-subscriptions", type=int, help="1 with -1 or -t, else 0"),
    *QOS_ARGUMENTS,
)
def pub(args: argparse.Namespace) -> None:
    """Publish a message, repeatedly or a number of times."""
    if args.rate <= 0:
        raise CommandError(f"--rate {args.rate}: expected more than 0")
    message = graph.import_interface(args.message_type, "msg")
    wanted = args.wait_matching_subscriptions
    wanted = int(args.times > 0) if wanted is None else wanted
    with graph.cli_node() as node:
        now = node.get_clock().now
        from_yaml(args.values, message, now().to_msg())  # Complain before waiting.
        qos = chosen_qos(args, QoSProfile(depth=10))
        publisher = node.create_publisher(message, graph.full_name(args.topic_name), qos)
        matched = lambda: publisher.get_subscription_count() >= wanted  # noqa: E731
        while rclpy.ok() and not matched():
            print(f"Waiting for at least {wanted} matching subscription(s)...", flush=True)
            graph.wait_for(matched, 1.0)
        print("publisher: beginning loop", flush=True)
        count, start = 0, time.monotonic()
        while rclpy.ok() and (args.times == 0 or count < args.times):
            msg = from_yaml(args.values, message, now().to_msg())
            count += 1
            print(f"publishing #{count}: {msg!r}\n", flush=True)
            publisher.publish(msg)
            # After the last one too, so that it is sent before the node goes.
            due = start + count / args.rate if count != args.times else time.monotonic() + 0.1
            graph.wait_for(lambda due=due: False, due - time.monotonic())
