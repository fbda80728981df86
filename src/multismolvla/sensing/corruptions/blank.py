"""Pictures without content: black, white, and of one value."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from multismolvla.sensing.corruptions.fault import PictureFault, parameter
from multismolvla.sensing.corruptions.noise import SPAN
from multismolvla.streams import LABELS

# What counts of zero mean, and the greatest of 16 bits in millimetres and centikelvin.
LOWEST = {"rgb": 0, "depth": np.nan, "thermal": -273.15, "segmentation": 0}
HIGHEST = {"rgb": 255, "depth": 65.535, "thermal": 382.2, "segmentation": len(LABELS) - 1}


class Blank(PictureFault):
    """Every pixel has the same value."""

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        return np.full_like(frame, self._value())

    @abstractmethod
    def _value(self) -> float:
        """What every pixel shows."""


@dataclass
class Black(Blank):
    """The sensor counts nothing: no light, no return, no temperature, the label 0."""

    name = "black"

    def _value(self) -> float:
        return LOWEST[self.kind]


@dataclass
class White(Blank):
    """The sensor counts as far as it can; of labels, the last."""

    name = "white"

    def _value(self) -> float:
        return HIGHEST[self.kind]


@dataclass
class Constant(Blank):
    """The sensor shows one value in between."""

    name = "constant"
    level: float = parameter(
        "of the range", 0.01, 1.0, (0.5,), "the value; range: 255 levels, 1 m, 40 degrees, labels"
    )  # fmt: skip

    def _value(self) -> float:
        value = self.level * SPAN.get(self.kind, len(LABELS) - 1)
        return round(value) if self.kind in ("rgb", "segmentation") else value
