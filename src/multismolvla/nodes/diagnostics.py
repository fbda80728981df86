"""A node's statuses on `/diagnostics`, named and timed for diagnostic_aggregator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from multismolvla.sensing.health import State
from multismolvla.sensing.stream_checks import Check

# REP 107 asks for 1 Hz. Faster, so that config/diagnostics_aggregator.yaml can call a node that is
# silent stale before half a second is over.
DIAGNOSTICS_PERIOD_S = 0.2
# Share of a control loop's nominal rate below which it is worth a warning.
SLOW_LOOP = 0.9

LEVELS = {
    State.OK: DiagnosticStatus.OK,
    State.DEGRADED: DiagnosticStatus.WARN,
    State.LOST: DiagnosticStatus.ERROR,
}


class Task(NamedTuple):
    """One thing that a node reports; its name is unique in the node."""

    name: str
    level: bytes
    message: str
    values: Mapping[str, object]


def checked(name: str, check: Check) -> Task:
    """A check's result as a task."""
    return Task(name, LEVELS[check.state], check.message, check.values)


class Diagnostics:
    """Publishes tasks under the names that diagnostic_updater gives with `use_fqn`.

    Args:
        hardware_id: the device that the node speaks for.
    """

    def __init__(self, node: Node, hardware_id: str) -> None:
        self._node = node
        self._hardware_id = hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    @property
    def wanted(self) -> bool:
        """Whether anybody listens: making the message costs more than sending it."""
        return self._publisher.get_subscription_count() > 0

    def publish(self, *tasks: Task) -> None:
        """Publish the tasks of the node, all in one message."""
        node_name = self._node.get_fully_qualified_name()
        message = DiagnosticArray(
            status=[
                DiagnosticStatus(
                    name=f"{node_name}: {task.name}",
                    level=task.level,
                    message=task.message,
                    hardware_id=self._hardware_id,
                    values=key_values(task.values),
                )
                for task in tasks
            ]
        )
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def key_values(values: Mapping[str, object]) -> list[KeyValue]:
    """The values of a status as its message has them."""
    return [KeyValue(key=key, value=str(value)) for key, value in values.items()]
