"""What the policy node knows of the load: how late every node runs, and what is given up for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import QoSProfile

from multismolvla.control.load_shedding import Load, LoadShedding
from multismolvla.nodes import load_message
from multismolvla.nodes.run import log_event
from multismolvla.nodes.status_monitor import StatusMonitor

# While it lasts, the others follow how late the machine runs.
REPEAT_S = 0.5


class LoadWatch:
    """Gathers the lags of all nodes and publishes `load`.

    Args:
        statuses: the streams', with the lag of their nodes.
        own_lag_s: returns the lag of this node.
    """

    def __init__(self, node: Node, statuses: StatusMonitor, own_lag_s: Callable[[], float]) -> None:
        self._node, self._statuses, self._own_lag_s = node, statuses, own_lag_s
        self._shedding = LoadShedding(partial(log_event, node))
        self._publisher = load_message.publisher(node)
        self._published = (Load(), float("-inf"))
        # Overrides the latched load of an earlier policy node.
        self._publisher.publish(load_message.to_status(Load()))
        node.create_subscription(
            DiagnosticArray, "so101_driver/status", self._on_driver, QoSProfile(depth=1)
        )
        node.create_subscription(
            DiagnosticStatus, "sim_node/result", self._on_simulator, load_message.LATCHED
        )

    @property
    def load(self) -> Load:
        """As of the last tick."""
        return self._shedding.load

    def tick(self) -> Load:
        """Decide again; from one thread."""
        lags_s = {f"{name}_node": s.lag_s for name, s in self._statuses.statuses.items()}
        lags_s[self._node.get_name()] = self._own_lag_s()
        load = self._shedding.tick(time.monotonic_ns(), lags_s)
        published, at_s = self._published
        changed = (load.overloaded, load.shed) != (published.overloaded, published.shed)
        now_s = time.monotonic()
        if changed or (load.overloaded and now_s > at_s + REPEAT_S):
            self._published = load, now_s
            self._publisher.publish(load_message.to_status(load))
        return load

    def _on_driver(self, message: DiagnosticArray) -> None:
        for status in message.status[:1]:
            self._take("so101_driver", status.values)

    def _on_simulator(self, status: DiagnosticStatus) -> None:
        self._take("sim_node", status.values)

    def _take(self, node: str, pairs: list[KeyValue]) -> None:
        values: Mapping[str, str] = {pair.key: pair.value for pair in pairs}
        try:
            lag_s = float(values.get("lag_ms", "0")) * 1e-3
        except ValueError:
            self._node.get_logger().warning(
                f"status of {node}: lag_ms is '{values['lag_ms']}'; ignored",
                throttle_duration_sec=5.0,
            )
        else:
            self._shedding.report(node, time.monotonic_ns(), lag_s)
