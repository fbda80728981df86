"""Conditions a depth camera: 16-bit counts or float metres in, float metres with NaN out."""

from multismolvla.nodes.parameters import declare
from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_node import SensorNode
from multismolvla.sensing.conditioning import RawUnits


class DepthNode(SensorNode):
    kind = "depth"
    accepted = ("16UC1", "mono16", "32FC1")
    encoding = "32FC1"

    def declare_units(self) -> RawUnits:
        unit_m = declare(
            self,
            "raw_unit_m",
            RawUnits.depth_m,
            "Metres per count of a 16-bit depth image; images of floats are metres already.",
            minimum=1e-6,
            maximum=1.0,
            read_only=True,
        )
        return RawUnits(depth_m=unit_m)


def main() -> int:
    return run(DepthNode)
