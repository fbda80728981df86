"""Messages that are not what their reader expects."""

from __future__ import annotations

from dataclasses import dataclass, replace

from multismolvla.sensing.conditioning import resize
from multismolvla.sensing.corruptions.fault import Delivery, Fault, parameter
from multismolvla.streams import KINDS


@dataclass
class WrongResolution(Fault):
    """Pictures of another size: a driver that came up in another mode."""

    name = "wrong_resolution"
    kinds = KINDS
    scale: float = parameter(
        "of the size", 0.01, 4.0, (0.75, 0.5, 0.33, 0.2, 0.1), "of height and width"
    )

    def apply(self, delivery: Delivery) -> list[Delivery]:
        height, width = (max(1, round(n * self.scale)) for n in delivery.frame.shape[:2])
        return [replace(delivery, frame=resize(self.kind, delivery.frame, height, width))]


@dataclass
class WrongEncoding(Fault):
    """Messages say that they hold something that no camera of this kind sends."""

    name = "wrong_encoding"
    kinds = KINDS

    def apply(self, delivery: Delivery) -> list[Delivery]:
        return [replace(delivery, encoding="32FC1" if self.kind == "rgb" else "rgb8")]


@dataclass
class TruncatedData(Fault):
    """Messages end before their picture does: a link that loses packets."""

    name = "truncated_data"
    kinds = KINDS
    share: float = parameter(
        "of the bytes", 0.0, 0.999, (0.95, 0.75, 0.5, 0.25, 0.0), "what comes of a picture"
    )

    def apply(self, delivery: Delivery) -> list[Delivery]:
        return [replace(delivery, share=self.share)]
