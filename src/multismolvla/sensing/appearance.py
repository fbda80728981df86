"""Does a frame look like the picture of a live, unobstructed, focused sensor?"""

from __future__ import annotations

import math

import numpy as np

from multismolvla.sensing.statistics import FrameStatistics, measure
from multismolvla.sensing.thresholds import Thresholds

Findings = dict[str, str]


class Appearance:
    """Judges the pixels of one stream's frames, in their order."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._limits = thresholds
        self._previous = b""
        self._repeats = 0
        # Reason -> frames in a row that showed it.
        self._persistence: dict[str, int] = {}

    def judge(self, frame: np.ndarray) -> tuple[Findings, Findings]:
        """Return what makes the stream lost and what makes it degraded: reason -> detail."""
        limits = self._limits
        # What has no limit is not measured.
        statistics = measure(
            frame,
            limits.minimum,
            limits.maximum,
            limits.flat_std,
            limits.edge_contrast,
            levels=limits.black_below > -math.inf or limits.white_above < math.inf,
            noise=limits.noise_above < math.inf or limits.edge_contrast < math.inf,
        )
        losing = self._unusable(statistics)
        self._repeats = self._repeats + 1 if statistics.content == self._previous else 0
        self._previous = statistics.content
        if limits.frozen_repeats and self._repeats >= limits.frozen_repeats and not losing:
            losing["frozen"] = f"the same picture {self._repeats + 1} times"
        return losing, {} if losing else self._persistent(self._damage(statistics))

    def _unusable(self, statistics: FrameStatistics) -> Findings:
        limits = self._limits
        if statistics.invalid_share > limits.invalid_share:
            return {"invalid": f"{statistics.invalid_share:.0%} of the pixels hold no value"}
        if statistics.high < limits.black_below:
            return {"blank": "the picture is black"}
        if statistics.low > limits.white_above:
            return {"blank": "the picture is saturated"}
        if statistics.flat_share >= limits.blank_share:
            return {"blank": "the picture is constant"}
        return {}

    def _damage(self, statistics: FrameStatistics) -> Findings:
        limits = self._limits
        found = {}
        if statistics.flat_share >= limits.occluded_share:
            found["occluded"] = f"{statistics.flat_share:.0%} of the picture is constant"
        elif statistics.invalid_share > limits.gap_share:
            found["occluded"] = f"{statistics.invalid_share:.0%} of the pixels hold no value"
        if statistics.noise > limits.noise_above:
            found["noisy"] = (
                f"noise of {statistics.noise:.3g}, at most {limits.noise_above:g} is normal"
            )
        # False where the sharpness is NaN, that is where nothing can be said.
        if statistics.sharpness < limits.sharpness_below:
            found["blurred"] = (
                f"no edge steeper than {statistics.sharpness:.2f} of its contrast a pixel"
            )
        return found

    def _persistent(self, damage: Findings) -> Findings:
        self._persistence = {name: self._persistence.get(name, 0) + 1 for name in damage}
        return {
            name: detail
            for name, detail in damage.items()
            if self._persistence[name] >= self._limits.soft_frames
        }
