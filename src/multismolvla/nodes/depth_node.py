"""Conditions a depth camera: 16-bit counts or float metres in, float metres with NaN out."""

from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_node import SensorNode


class DepthNode(SensorNode):
    kind = "depth"
    accepted = ("16UC1", "mono16", "32FC1")
    encoding = "32FC1"


def main() -> int:
    return run(DepthNode)
