"""Conditions a radiometric thermal camera: 16-bit counts in, float degrees Celsius out."""

from multismolvla.nodes.parameters import declare
from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_node import SensorNode
from multismolvla.sensing.conditioning import RawUnits


class ThermalNode(SensorNode):
    kind = "thermal"
    accepted = ("mono16", "16UC1", "32FC1")
    encoding = "32FC1"

    def declare_units(self) -> RawUnits:
        scale = declare(
            self,
            "scale",
            RawUnits.thermal_scale,
            "Degrees Celsius per count; images of floats are degrees already.",
            minimum=1e-6,
            maximum=100.0,
            read_only=True,
        )
        offset = declare(
            self,
            "offset",
            RawUnits.thermal_offset,
            "Degrees Celsius at a count of zero.",
            minimum=-1000.0,
            maximum=1000.0,
            read_only=True,
        )
        return RawUnits(thermal_scale=scale, thermal_offset=offset)


def main() -> int:
    return run(ThermalNode)
