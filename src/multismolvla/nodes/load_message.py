"""How loaded the machine is, as the topic `load`: one latched DiagnosticStatus."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile

from multismolvla.control.load_shedding import Load
from multismolvla.nodes.diagnostics import Task, key_values

LOAD_TOPIC = "load"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def load_values(load: Load) -> dict[str, str]:
    """A load's fields by name, as text; `overload` is "" where there is none."""
    return {
        "overload": load.reason,
        "lag_ms": f"{load.lag_s * 1e3:.0f}",
        "shed": ",".join(load.shed),
    }


def to_task(load: Load) -> Task:
    """The load as a task of a node on `/diagnostics`; a warning while the machine is overloaded."""
    level = DiagnosticStatus.WARN if load.overloaded else DiagnosticStatus.OK
    return Task("load", level, load.sentence, load_values(load))


def to_status(load: Load) -> DiagnosticStatus:
    """The same as the message of the topic."""
    name, level, message, values = to_task(load)
    return DiagnosticStatus(level=level, name=name, message=message, values=key_values(values))


def from_status(status: DiagnosticStatus) -> Load:
    """Read a load back.

    Raises:
        ValueError: it is not one.
    """
    values = {pair.key: pair.value for pair in status.values}
    try:
        shed = tuple(filter(None, values["shed"].split(",")))
        reason = values["overload"]
        return Load(bool(reason), reason, float(values["lag_ms"]) * 1e-3, shed)
    except (KeyError, ValueError) as error:
        raise ValueError(f"not a load: {type(error).__name__}: {error}") from None


def publisher(node: Node) -> Publisher:
    """A publisher of the load, for the one node that decides."""
    return node.create_publisher(DiagnosticStatus, LOAD_TOPIC, LATCHED)


def listen(node: Node, on_load: Callable[[Load], None], view: str = "") -> None:
    """Have `on_load` called with each new load of the stack.

    Args:
        view: namespace of the node within that of the robot.
    """

    def on_status(status: DiagnosticStatus) -> None:
        try:
            on_load(from_status(status))
        except ValueError as error:
            node.get_logger().warning(f"{LOAD_TOPIC}: {error}; ignored", throttle_duration_sec=5.0)

    robot = node.get_namespace().removesuffix(f"/{view}") if view else node.get_namespace()
    node.create_subscription(
        DiagnosticStatus, f"{robot.rstrip('/')}/{LOAD_TOPIC}", on_status, LATCHED
    )
