"""Declaring parameters with type, range and description: a bad value stops a node at start."""

from __future__ import annotations

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


def declare_settings(node: Node, defaults: Settings) -> Settings:
    """Declare every setting of a dataclass and return the settings; all are fixed after start.

    Args:
        defaults: an instance whose values are the defaults; see `setting.settings_of`.

    Raises:
        ValueError: a value is wrong; one line.
    """
    values = {}
    for item in settings_of(defaults):
        if item.parse is not None:
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
