"""Show and call the services of the ROS graph."""

import argparse

from ros2cli import graph
from ros2cli.cli import CommandError, Verbs, argument
from ros2cli.interface_yaml import from_yaml

_verbs = Verbs()
add_arguments, main = _verbs.add_arguments, _verbs.main


@_verbs.verb("list", argument("-t", "--show-types", action="store_true"))
def list_services(args: argparse.Namespace) -> None:
    """List the services."""
    with graph.cli_node() as node:
        graph.print_names(graph.settled(node, node.get_service_names_and_types), args.show_types)


@_verbs.verb(
    "call",
    argument("service_name"),
    argument("service_type", help="such as std_srvs/srv/SetBool"),
    argument("values", nargs="?", default="{}", help="the request as YAML"),
)
def call(args: argparse.Namespace) -> None:
    """Call a service and print its response."""
    service = graph.import_interface(args.service_type, "srv")
    request = from_yaml(args.values, service.Request)
    with graph.cli_node() as node:
        client = node.create_client(service, graph.full_name(args.service_name))
        if not client.service_is_ready():
            print("waiting for service to become available...", flush=True)
        if not graph.wait_for(client.service_is_ready, timeout_s=10.0):
            raise CommandError(f"service '{args.service_name}' is not available")
        print(f"requester: making request: {request}\n", flush=True)
        print(f"response:\n{graph.spin_until(node, client.call_async(request))}\n")
