"""Show the nodes of the ROS graph."""

import argparse

from ros2cli import graph
from ros2cli.cli import Verbs, argument

_verbs = Verbs()
add_arguments, main = _verbs.add_arguments, _verbs.main


@_verbs.verb("list", argument("-a", "--all", action="store_true", help="also hidden nodes"))
def list_nodes(args: argparse.Namespace) -> None:
    """List the nodes."""
    with graph.cli_node() as node:
        found = graph.settled(node, lambda: sorted(node.get_node_names_and_namespaces()))
        found.remove((node.get_name(), node.get_namespace()))
    for name in sorted(f"{namespace.rstrip('/')}/{name}" for name, namespace in found):
        if args.all or not graph.is_hidden(name):
            print(name)
