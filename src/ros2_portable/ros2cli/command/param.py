"""Show and change the parameters of nodes."""

import argparse

from rcl_interfaces.msg import Parameter, ParameterType
from rclpy.node import Node
from rclpy.parameter import get_parameter_value, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from ros2cli import graph
from ros2cli.cli import CommandError, Verbs, argument

_ANSWER_S = 5.0
_SUFFIX = "/list_parameters"
_verbs = Verbs()
add_arguments, main = _verbs.add_arguments, _verbs.main


def _client(node: Node, name: str) -> AsyncParameterClient:
    client = AsyncParameterClient(node, name)
    if not graph.wait_for(client.services_are_ready):
        raise CommandError(f"node '{name}' not found, or it has no parameter services")
    return client


@_verbs.verb("list", argument("node_name", nargs="?", help="all nodes if absent"))
def list_parameters(args: argparse.Namespace) -> None:
    """List the parameters of one node or of all."""
    with graph.cli_node() as node:
        names = [graph.full_name(args.node_name)] if args.node_name else []
        if not names:
            services = graph.settled(node, node.get_service_names_and_types)
            names = sorted(n.removesuffix(_SUFFIX) for n, _ in services if n.endswith(_SUFFIX))
        for name in names:
            future = _client(node, name).list_parameters()
            answer = graph.spin_until(node, future, _ANSWER_S)
            heading = [] if args.node_name else [f"{name}:"]
            print("\n".join(heading + [f"  {n}" for n in sorted(answer.result.names)]))


@_verbs.verb(
    "get",
    argument("node_name"),
    argument("parameter_name"),
    argument("--hide-type", action="store_true", help="print only the value"),
)
def get(args: argparse.Namespace) -> int:
    """Print the value of a parameter."""
    with graph.cli_node() as node:
        client = _client(node, graph.full_name(args.node_name))
        future = client.get_parameters([args.parameter_name])
        values = graph.spin_until(node, future, _ANSWER_S).values
    if not values or values[0].type == ParameterType.PARAMETER_NOT_SET:
        print("Parameter not set.")
        return 1
    value = parameter_value_to_python(values[0])
    kinds = ["Boolean", "Integer", "Double", "String"]
    kind = (["", *kinds, "Byte", *kinds])[values[0].type]
    several = values[0].type >= ParameterType.PARAMETER_BYTE_ARRAY
    label = "" if args.hide_type else f"{kind} values are: " if several else f"{kind} value is: "
    print(f"{label}{list(value) if several else value}")
    return 0


@_verbs.verb(
    "set",
    argument("node_name"),
    argument("parameter_name"),
    argument("value", help="as YAML; its type must be the parameter's"),
)
def set_parameter(args: argparse.Namespace) -> int:
    """Set a parameter."""
    parameter = Parameter(name=args.parameter_name, value=get_parameter_value(args.value))
    with graph.cli_node() as node:
        client = _client(node, graph.full_name(args.node_name))
        result = graph.spin_until(node, client.set_parameters([parameter]), _ANSWER_S).results[0]
    if not result.successful:
        raise CommandError(f"setting {args.parameter_name} failed: {result.reason}")
    print("Set parameter successful")
    return 0
