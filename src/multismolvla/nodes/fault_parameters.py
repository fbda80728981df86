"""The faults of a stream as parameters of a node, so that `ros2 param set` breaks a camera."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import yaml
from rclpy.node import Node

from multismolvla.faults.fault import Fault
from multismolvla.faults.registry import FAULTS, make_fault
from multismolvla.nodes.parameters import declare
from multismolvla.one_line import one_line

NONE = "none"
NAMES = ("fault", "severity", "seed", "parameters")


class FaultParameters:
    """The four parameters of one stream: `rgb.fault`, and `wrist.rgb.fault` of `wrist/rgb`.

    Attributes:
        stream, kind: what breaks.
    """

    def __init__(self, node: Node, stream: str, kind: str) -> None:
        """Declare them.

        Raises:
            ParameterError: a value that was given is wrong.
        """
        self._node, self.stream, self.kind = node, stream, kind
        self._prefix = stream.replace("/", ".")
        able = tuple(name for name, fault in FAULTS.items() if kind in fault.kinds())
        declare(node, self.name("fault"), NONE, "Fault of the stream.", choices=(NONE, *able))
        declare(node, self.name("severity"), 3, "How badly.", minimum=1, maximum=5)
        declare(node, self.name("seed"), 0, "What is drawn.", minimum=0, maximum=2**31 - 1)
        declare(
            node,
            self.name("parameters"),
            "",
            "Values of the fault's own parameters instead of those of the severity, as YAML: "
            "'{share: 0.2}'.",
        )

    def name(self, last: str) -> str:
        """The full name of one of `NAMES`."""
        return f"{self._prefix}.{last}"

    def fault(self, changes: Mapping[str, Any] | None = None) -> Fault | None:
        """Make the fault that the parameters name, None for none.

        Args:
            changes: full name of a parameter -> value that it is about to get.

        Raises:
            ValueError: the values do not fit together; one line.
        """
        given = {}
        for last in NAMES:
            name = self.name(last)
            given[last] = (changes or {}).get(name, self._node.get_parameter(name).value)
        if given["fault"] == NONE:
            return None
        try:
            own = yaml.safe_load(given["parameters"]) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"not valid YAML: {one_line(error)}") from None
        if not isinstance(own, dict):
            raise ValueError(f"{self.name('parameters')} is {own!r}; expected keys and values")
        seed = zlib.crc32(f"{given['seed']} {self.stream}".encode())
        return make_fault(given["fault"], self.kind, seed, given["severity"], own)
