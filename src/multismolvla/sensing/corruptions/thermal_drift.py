"""A thermal camera that warms up without looking at its shutter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multismolvla.sensing.corruptions.fault import PictureFault, parameter


@dataclass
class ThermalDrift(PictureFault):
    """All temperatures rise or fall, ever further, up to a limit."""

    name = "thermal_drift"
    kinds = ("thermal",)
    rate: float = parameter(
        "degrees/s", -50.0, 50.0, (0.2, 0.5, 1.0, 3.0, 10.0), "how fast temperatures drift"
    )
    limit: float = parameter("degrees", 0.0, 500.0, (30.0,), "how far they drift")

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        drift = np.clip(self.rate * self._since_s, -self.limit, self.limit)
        return (frame + drift).astype(frame.dtype)
