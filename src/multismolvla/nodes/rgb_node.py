"""Conditions a colour camera: any colour encoding in, rgb8 of the stream table's size out."""

from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_node import SensorNode


class RgbNode(SensorNode):
    kind = "rgb"


def main() -> int:
    return run(RgbNode)
