"""What befalls depth cameras: pixels without a return, and a wrong scale."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from multismolvla.sensing.corruptions.fault import PictureFault, parameter

# Holes are about this much of the picture wide.
HOLE_SHARE = 1 / 12


@dataclass
class NanDepth(PictureFault):
    """Holes: sunlight, glass, black cloth. They come and go from frame to frame."""

    name = "nan_depth"
    kinds = ("depth",)
    share: float = parameter(
        "of the pixels", 0.0, 1.0, (0.1, 0.25, 0.45, 0.7, 1.0), "pixels that lose their value"
    )

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape
        cells = round(1 / HOLE_SHARE)
        field = self._rng.standard_normal((cells, cells)).astype(np.float32)
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
        count = round(self.share * frame.size)
        holed = frame.copy()
        if count:
            holed[field <= np.partition(field.ravel(), count - 1)[count - 1]] = np.nan
        return holed


@dataclass
class DepthScale(PictureFault):
    """All distances are too long or too short: a wrong unit, a baseline that has bent."""

    name = "depth_scale"
    kinds = ("depth",)
    factor: float = parameter(
        "of the distance",
        0.1,
        10.0,
        (1.03, 1.07, 1.15, 1.3, 1.6),
        "how much longer distances get",
    )

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        return frame * np.float32(self.factor)
