"""ros2 node, param and service: what nodes there are and what they offer."""

import argparse

from rcl_interfaces.msg import Parameter, ParameterType
from rclpy.node import Node
from rclpy.parameter import get_parameter_value, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from ros2cli import graph
from ros2cli.cli import CommandError, argument, verb
from ros2cli.interface_yaml import from_yaml

_ANSWER_S = 5.0
_SUFFIX = "/list_parameters"
_KINDS = ["Boolean", "Integer", "Double", "String"]  # in the order of ParameterType


@verb("node list", argument("-a", "--all", action="store_true", help="also hidden nodes"))
def list_nodes(args: argparse.Namespace) -> None:
    """List the nodes."""
    with graph.cli_node() as node:
        found = graph.settled(node, lambda: sorted(node.get_node_names_and_namespaces()))
        found.remove((node.get_name(), node.get_namespace()))
    for name in sorted(f"{namespace.rstrip('/')}/{name}" for name, namespace in found):
        if args.all or not graph.is_hidden(name):
            print(name)


def _client(node: Node, name: str) -> AsyncParameterClient:
    client = AsyncParameterClient(node, name)
    if not graph.wait_for(client.services_are_ready):
        raise CommandError(f"node '{name}' not found, or it has no parameter services")
    return client


@verb("param list", argument("node_name", nargs="?", help="all nodes if absent"))
def list_parameters(args: argparse.Namespace) -> None:
    """List the parameters of one node or of all."""
    with graph.cli_node() as node:
        names = [graph.full_name(args.node_name)] if args.node_name else []
        if not names:
            services = graph.settled(node, node.get_service_names_and_types)
            names = sorted(n.removesuffix(_SUFFIX) for n, _ in services if n.endswith(_SUFFIX))
        for name in names:
            future = _client(node, name).list_parameters()
            found = graph.spin_until(node, future, _ANSWER_S).result.names
            heading = [] if args.node_name else [f"{name}:"]
            print("\n".join(heading + [f"  {each}" for each in sorted(found)]))


@verb("param get", argument("node_name"), argument("parameter_name"))
def get_parameter(args: argparse.Namespace) -> int:
    """Print the value of a parameter."""
    with graph.cli_node() as node:
        client = _client(node, graph.full_name(args.node_name))
        future = client.get_parameters([args.parameter_name])
        values = graph.spin_until(node, future, _ANSWER_S).values
    if not values or values[0].type == ParameterType.PARAMETER_NOT_SET:
        print("Parameter not set.")
        return 1
    value, kind = parameter_value_to_python(values[0]), (["", *_KINDS, "Byte", *_KINDS])
    if values[0].type >= ParameterType.PARAMETER_BYTE_ARRAY:
        print(f"{kind[values[0].type]} values are: {list(value)}")
    else:
        print(f"{kind[values[0].type]} value is: {value}")
    return 0


@verb(
    "param set",
    argument("node_name"),
    argument("parameter_name"),
    argument("value", help="as YAML; its type must be the parameter's"),
)
def set_parameter(args: argparse.Namespace) -> None:
    """Set a parameter."""
    parameter = Parameter(name=args.parameter_name, value=get_parameter_value(args.value))
    with graph.cli_node() as node:
        client = _client(node, graph.full_name(args.node_name))
        result = graph.spin_until(node, client.set_parameters([parameter]), _ANSWER_S).results[0]
    if not result.successful:
        raise CommandError(f"setting {args.parameter_name} failed: {result.reason}")
    print("Set parameter successful")


@verb("service list", argument("-t", "--show-types", action="store_true"))
def list_services(args: argparse.Namespace) -> None:
    """List the services."""
    with graph.cli_node() as node:
        graph.print_names(graph.settled(node, node.get_service_names_and_types), args.show_types)


@verb(
    "service call",
    argument("service_name"),
    argument("service_type", help="such as std_srvs/srv/SetBool"),
    argument("values", nargs="?", default="{}", help="the request as YAML"),
)
def call_service(args: argparse.Namespace) -> None:
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
