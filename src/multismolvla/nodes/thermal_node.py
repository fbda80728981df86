"""Conditions a radiometric thermal camera: 16-bit counts in, float degrees Celsius out."""

from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_node import SensorNode


class ThermalNode(SensorNode):
    kind = "thermal"
    accepted = ("mono16", "16UC1", "32FC1")
    encoding = "32FC1"


def main() -> int:
    return run(ThermalNode)
