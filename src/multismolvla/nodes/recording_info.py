"""Publishes the configuration of the stack, so that a recorded bag contains it.

Started by the launch argument `record`; docs/replay.md describes its contents.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from std_msgs.msg import String

from multismolvla.nodes.parameters import (
    ParameterError,
    declare,
    declare_streams_file,
    reject_unknown,
)
from multismolvla.nodes.run import run
from multismolvla.streams import load_stream_table
from multismolvla.training.provenance import git_says

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Nodes come up one after the other.
LOOK_PERIOD_S = 1.0


class RecordingInfo(Node):
    """Publishes `recording_info`, latched: JSON with code, launch arguments, streams, parameters.

    It reads the parameters of every node that appears, once, and publishes again with each of them.
    Later changes are on `/parameter_events`.
    """

    def __init__(self, **options) -> None:
        super().__init__("recording_info", **options)
        streams_file = declare_streams_file(self)
        given = declare(
            self, "launch_arguments", "{}", "What was launched, JSON of texts.", read_only=True
        )
        reject_unknown(self)
        load_stream_table(streams_file)
        self._info: dict[str, Any] = {
            "git_revision": git_says("describe", "--always", "--dirty"),
            "launch_arguments": self._parsed(given),
            "streams": Path(streams_file).read_text(),
            "parameters": {},
        }
        self._asked = {self.get_fully_qualified_name()}
        self._publisher = self.create_publisher(String, "recording_info", LATCHED)
        self._publish()
        self.create_timer(LOOK_PERIOD_S, self._look)

    def _parsed(self, text: str) -> dict[str, str]:
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ParameterError(
                f"{self.get_fully_qualified_name()}: parameter 'launch_arguments' is '{text}'; "
                "expected a JSON object"
            )
        return found

    def _publish(self) -> None:
        self._publisher.publish(String(data=json.dumps(self._info, default=str)))

    def _look(self) -> None:
        """Ask the nodes that are new."""
        for name, namespace in self.get_node_names_and_namespaces():
            node = f"{namespace.rstrip('/')}/{name}"
            if node in self._asked or name.startswith("_"):
                continue
            client = self.create_client(ListParameters, f"{node}/list_parameters")
            if not client.service_is_ready():
                # Not there yet, or a node without parameters.
                self.destroy_client(client)
                continue
            self._asked.add(node)
            answer = client.call_async(ListParameters.Request())
            answer.add_done_callback(partial(self._on_names, node))

    def _on_names(self, node: str, answer: Future) -> None:
        names = answer.result().result.names
        client = self.create_client(GetParameters, f"{node}/get_parameters")
        values = client.call_async(GetParameters.Request(names=names))
        values.add_done_callback(partial(self._on_values, node, names))

    def _on_values(self, node: str, names: list[str], answer: Future) -> None:
        values = map(parameter_value_to_python, answer.result().values)
        self._info["parameters"][node] = dict(zip(names, values, strict=True))
        self._publish()


def main() -> int:
    return run(RecordingInfo)
