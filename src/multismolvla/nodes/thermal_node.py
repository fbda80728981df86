"""Conditions a radiometric thermal camera: 16-bit counts in, float degrees Celsius out."""

from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_node import SensorNode


class ThermalNode(SensorNode):
    kind = "thermal"


def main() -> int:
    return run(ThermalNode)
