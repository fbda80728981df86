"""All sensor nodes of a robot in one process.

    sensor_container --node rgb_node -p stream:=rgb --node rgb_node -r __ns:=/wrist --ros-args ...

What follows `--node` and a name are that node's own parameters, remappings and namespace; what
follows the last `--ros-args` is for all of them. A node that raises is started anew, and a node
that is misconfigured reports it; neither takes its neighbours along.
"""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from collections.abc import Sequence

import rclpy
from rclpy.node import Node

from multismolvla.modalities.registry import kinds
from multismolvla.nodes.depth_node import DepthNode
from multismolvla.nodes.misconfigured import is_supervised
from multismolvla.nodes.node_host import NodeHost, NodeSpec
from multismolvla.nodes.rgb_node import RgbNode
from multismolvla.nodes.run import (
    freeze_garbage,
    init,
    make_executor,
    spin_some,
    stop_on_signal,
)
from multismolvla.nodes.segmentation_node import SegmentationNode
from multismolvla.nodes.sensor_node import camera_node
from multismolvla.nodes.thermal_node import ThermalNode


def node_classes() -> dict[str, type[Node]]:
    """Name -> class of the node of every kind of image, those of other packages included."""
    ours = (RgbNode, DepthNode, ThermalNode, SegmentationNode)
    own = {node.kind: node for node in ours}
    return {f"{kind}_node": own.get(kind) or camera_node(kind) for kind in kinds()}


def parse(arguments: Sequence[str]) -> tuple[list[NodeSpec], list[str]]:
    """Split a command line into the nodes and the ROS arguments of all of them.

    Raises:
        ValueError: no node, or one that does not exist; one line.
    """
    words, common = list(arguments), []
    if "--ros-args" in words:
        at = words.index("--ros-args")
        words, common = words[:at], words[at:]
    groups = [list(g) for is_mark, g in itertools.groupby(words, "--node".__eq__) if not is_mark]
    if not words or words[0] != "--node" or words.count("--node") != len(groups):
        raise ValueError(f"sensor_container: expected --node NAME [ROS arguments] ..., got {words}")
    known = node_classes()
    for kind, *_ in groups:
        if kind not in known:
            raise ValueError(
                f"sensor_container: --node is '{kind}'; expected one of {', '.join(known)}"
            )
    return [NodeSpec(kind, tuple(own)) for kind, *own in groups], common


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        specs, common = parse(sys.argv[1:])
        init(common)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    base = next((w.partition(":=")[2] for w in common if w.startswith("__ns:=")), "")
    executor = make_executor()
    stop: threading.Event = stop_on_signal()
    host = NodeHost(specs, executor, node_classes(), base)
    status = 0
    try:
        host.tend()
        freeze_garbage()
        while not stop.is_set():
            if host.misconfigured and not is_supervised():
                status = 2
                break
            if not spin_some(executor):
                break
            host.tend()
    finally:
        host.close()
        rclpy.try_shutdown()
    return status
