"""Conditions a depth camera: 16-bit counts or float metres in, float metres with NaN out."""

from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_node import SensorNode


class DepthNode(SensorNode):
    kind = "depth"


def main() -> int:
    return run(DepthNode)
