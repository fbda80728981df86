"""Declaring parameters with type, range and description: a bad value stops a node at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from ament_index_python.packages import get_package_share_directory
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from multismolvla.embodiment.description import Embodiment
from multismolvla.embodiment.embodiment_file import load_joint_arm
from multismolvla.setting import settings_of
from multismolvla.stack.settings import EMBODIMENT, or_shipped
from multismolvla.streams import Stream, StreamTable, load_stream_table

Settings = TypeVar("Settings")


class ParameterError(ValueError):
    """A parameter has a value the node cannot run with; the message says what was expected."""


def declare(
    node: Node,
    name: str,
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    read_only: bool = False,
) -> Any:
    """Declare a parameter and return its value.

    Args:
        minimum, maximum: inclusive range of a number; give both or neither.
        choices: the allowed values of a string.
        read_only: True where a change after start could not take effect.

    Raises:
        ParameterError: the given value has the wrong type or lies outside the range or the choices.
    """
    descriptor = ParameterDescriptor(description=description, read_only=read_only)
    expected = type(default).__name__
    if minimum is not None and maximum is not None:
        expected += f" in [{minimum}, {maximum}]"
        if isinstance(default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(minimum), to_value=float(maximum), step=0.0)
            ]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(minimum), to_value=int(maximum), step=1)
            ]
    if choices is not None:
        descriptor.additional_constraints = expected = "one of " + ", ".join(choices)
    try:
        value = node.declare_parameter(name, default, descriptor).value
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise ParameterError(
            f"{node.get_fully_qualified_name()}: parameter '{name}': expected {expected}: {error}"
        ) from None
    if choices is not None and value not in choices:
        raise ParameterError(
            f"{node.get_fully_qualified_name()}: parameter '{name}' is '{value}'; "
            f"expected {expected}"
        )
    return value


def declare_settings(
    node: Node, defaults: Settings, known: Mapping[str, Any] | None = None
) -> Settings:
    """Declare every setting of a dataclass and return the settings; all are fixed after start.

    Args:
        defaults: an instance whose values are the defaults; see `setting.settings_of`.
        known: values that count more than those that the node is given.

    Raises:
        ValueError: a value is wrong; one line.
    """
    values, known = {}, known or {}
    for item in settings_of(defaults):
        if item.name in known:
            descriptor = ParameterDescriptor(
                description=item.description, read_only=True, dynamic_typing=True
            )
            value = item.check(known[item.name])
            node.declare_parameter(item.name, value, descriptor, ignore_override=True)
            values[item.field] = value
        elif item.parse is not None:
            # A string or a number: `declare` knows one type per parameter.
            descriptor = ParameterDescriptor(
                description=item.description, read_only=True, dynamic_typing=True
            )
            given = node.declare_parameter(item.name, item.default, descriptor).value
            values[item.field] = item.parse(given)
        else:
            values[item.field] = declare(
                node,
                item.name,
                item.default,
                item.description,
                minimum=item.minimum,
                maximum=item.maximum,
                choices=item.choices or None,
                read_only=True,
            )
    return replace(defaults, **values)


def declare_arm(node: Node) -> Embodiment:
    """Declare which arm it is and return it; it follows joint targets.

    Raises:
        ValueError: there is no such arm, or its file is wrong; one line.
    """
    return load_joint_arm(declare(node, "embodiment", "so101", EMBODIMENT, read_only=True))


def declare_file(node: Node, name: str, default: str, description: str) -> str:
    """Declare the path of a file, fixed after start, and return it; see `settings.or_shipped`."""
    path = declare(node, name, default, description, read_only=True)
    return str(or_shipped(path)) if path else ""


def declare_streams_file(node: Node, default: str = "streams.yaml") -> str:
    """Declare where the stream table is and return it; an installed one is the default."""
    share = get_package_share_directory("multismolvla")
    return declare_file(node, "streams_file", f"{share}/config/{default}", "Stream table.")


def declare_stream(node: Node, kind: str) -> tuple[Stream, StreamTable]:
    """Declare which stream of which table a sensor node is for, and return both.

    Raises:
        StreamTableError: the table is wrong, or has no such stream.
        ParameterError: the stream is of another kind, or belongs in another namespace.
    """
    name = declare(node, "stream", kind, "Stream of the table.", read_only=True)
    table = load_stream_table(declare_streams_file(node))
    where, stream = node.get_fully_qualified_name(), table[name]
    if stream.kind != kind:
        raise ParameterError(
            f"{where}: parameter 'stream': '{stream.name}' is a stream of kind {stream.kind}; "
            f"expected one of kind {kind}"
        )
    if stream.view and not node.get_namespace().endswith(f"/{stream.view}"):
        raise ParameterError(
            f"{where}: stream '{stream.name}' belongs in namespace '{stream.view}', "
            f"the node is in '{node.get_namespace()}'; start it with -r __ns:=/{stream.view}"
        )
    return stream, table


def reject_unknown(node: Node) -> None:
    """Refuse parameters that were given but never declared: a misspelt key must not pass silently.

    Call after every `declare`.

    Raises:
        ParameterError: names the unknown key and the known ones.
    """
    declared = set(node._parameters)
    for name in node._parameter_overrides:
        if name not in declared and not name.startswith("qos_overrides."):
            known = ", ".join(sorted(n for n in declared if not n.startswith("qos_overrides.")))
            raise ParameterError(
                f"{node.get_fully_qualified_name()}: unknown parameter '{name}'; known: {known}"
            )
