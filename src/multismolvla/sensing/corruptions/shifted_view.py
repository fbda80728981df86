"""A camera that was knocked: it looks elsewhere than its calibration says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from multismolvla.sensing.corruptions.fault import PictureFault, parameter


@dataclass
class ShiftedView(PictureFault):
    """The picture is shifted and turned, for good.

    What comes into view at the edges repeats the edge; of depth it has no value.
    """

    name = "shifted_view"
    shift: float = parameter(
        "of the width", 0.0, 1.0, (0.02, 0.05, 0.1, 0.15, 0.25), "how far, in any direction"
    )
    turn: float = parameter(
        "degrees", 0.0, 180.0, (0.5, 1.0, 2.0, 4.0, 8.0), "how far it is turned, either way"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._direction = self._rng.uniform(0.0, 2.0 * math.pi)
        self._sign = self._rng.choice((-1.0, 1.0))

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), self._sign * self.turn, 1.0)
        matrix[:, 2] += (
            self.shift * width * np.array((math.cos(self._direction), math.sin(self._direction)))
        )
        # Only colours can be mixed with their neighbours: half of a distance is no distance.
        mixed = cv2.INTER_LINEAR if self.kind in ("rgb", "thermal") else cv2.INTER_NEAREST
        border = cv2.BORDER_CONSTANT if self.kind == "depth" else cv2.BORDER_REPLICATE
        return cv2.warpAffine(
            frame, matrix, (width, height), flags=mixed, borderMode=border, borderValue=math.nan
        )
