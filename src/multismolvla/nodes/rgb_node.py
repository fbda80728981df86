"""Conditions a colour camera: any colour encoding in, rgb8 of the stream table's size out."""

from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_node import SensorNode


class RgbNode(SensorNode):
    kind = "rgb"
    raw_encoding = "rgb8"
    encoding = "rgb8"


def main() -> int:
    return run(RgbNode)
