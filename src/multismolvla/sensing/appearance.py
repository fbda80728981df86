"""Does a frame look like the frame of a live, unobstructed, focused sensor?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from multismolvla.modalities.thresholds import Thresholds

# What a frame looks like in a handful of numbers, cheap enough for every frame of every camera.
#
# Everything is computed on a 4 x 4 grid of small patches, so the cost does not grow with the
# image. The pixels inside a patch are neighbours, which noise and blur need; the patches are spread
# over the whole frame, which occlusion needs.

GRID = 4
MAX_PATCH = 32
# Contrast below this many units of noise may be noise alone and says nothing about edges.
_EDGE_TO_NOISE = 8.0


@dataclass(frozen=True)
class FrameStatistics:
    """Numbers of one frame, in the units of its kind (levels of 255, metres, degrees Celsius).

    Attributes:
        content: the sampled pixels as bytes; equal bytes mean an identical frame.
        invalid_share: share of pixels that are not finite or outside the sensor's range.
        low, high: 1st and 99th percentile of the valid pixels; NaN where none is valid, or where
            levels are not requested.
        flat_share: share of the patches that are constant.
        noise: standard deviation of the noise, the lower quartile over the patches; 0 where noise
            is not requested.
        sharpness: steepest slope per pixel as a share of the contrast across it, the lesser of
            both directions: 0.5 for a perfect step, 0.13 after a blur of 3 pixels; NaN where
            the frame has no edge to judge by, or where edges are not requested.
    """

    content: bytes
    invalid_share: float
    low: float
    high: float
    flat_share: float
    noise: float
    sharpness: float


def patches(frame: np.ndarray) -> np.ndarray:
    """Return a view (GRID, GRID, P, Q[, C]) of patches from the middle of each grid cell.

    A frame too small for the grid is one single patch: (1, 1, H, W[, C]).
    """
    height, width = frame.shape[0] // GRID, frame.shape[1] // GRID
    if height < 4 or width < 4:
        return frame[None, None]
    cells = frame[: GRID * height, : GRID * width].reshape(
        GRID, height, GRID, width, *frame.shape[2:]
    )
    rows, columns = min(height, MAX_PATCH), min(width, MAX_PATCH)
    top, left = (height - rows) // 2, (width - columns) // 2
    return cells[:, top : top + rows, :, left : left + columns].swapaxes(1, 2)


def measure(
    frame: np.ndarray,
    minimum: float,
    maximum: float,
    flat_std: float,
    edge_contrast: float = math.inf,
    *,
    levels: bool = True,
    noise: bool = True,
) -> FrameStatistics:
    """Measure one frame.

    Args:
        frame: (H, W, 3) uint8 or (H, W) of any numeric type, not empty.
        minimum, maximum: the sensor's range; values outside it count as invalid.
        flat_std: a patch whose standard deviation does not exceed this is constant.
        edge_contrast: a patch with less contrast than this has no edge to judge sharpness by.
        levels, noise: what else to compute; sharpness needs the noise.
    """
    # Copied once: every step below is several times as fast on neighbours in memory.
    sample = np.ascontiguousarray(patches(frame))
    content = sample.tobytes()
    if sample.ndim == 5:
        # Three additions of whole planes: a sum along an axis of three costs five times as much.
        total = sample[..., 0].astype(np.uint16)
        total += sample[..., 1]
        total += sample[..., 2]
        grey = total / np.float32(3.0)
    else:
        grey = sample.astype(np.float32)
    grey = grey.reshape(-1, *grey.shape[2:])

    invalid_share = 0.0
    if frame.dtype.kind == "f":
        # Comparisons with NaN are false, so NaN and infinity fall out here too.
        valid = (grey >= minimum) & (grey <= maximum)
        count = np.count_nonzero(valid)
        invalid_share = 1.0 - count / valid.size
        if count == 0:
            return FrameStatistics(content, 1.0, math.nan, math.nan, 0.0, 0.0, math.nan)
        if count < valid.size:
            grey = np.where(valid, grey, np.float32(np.nan))

    low = high = math.nan
    if levels:
        # Every other pixel of every other row is plenty for two percentiles.
        coarse = grey[:, ::2, ::2]
        low, high = _percentiles(coarse[np.isfinite(coarse)] if invalid_share else coarse.ravel())
    deviation = _deviation(grey, valid) if invalid_share else grey.std(axis=(1, 2))
    flat_share = np.count_nonzero(deviation <= flat_std) / len(grey)
    found = _noise(grey) if noise else 0.0
    sharpness = math.nan
    if edge_contrast < math.inf and invalid_share == 0.0:
        sharpness = _sharpness(grey, max(edge_contrast, _EDGE_TO_NOISE * found))
    return FrameStatistics(content, invalid_share, low, high, flat_share, found, sharpness)


def _deviation(grey: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(N,) standard deviation of the valid pixels of each patch (N, P, Q).

    A patch without any valid pixel is a hole, not a constant surface: its deviation is NaN.
    """
    count = valid.sum(axis=(1, 2), dtype=np.float32)
    count[count == 0.0] = np.nan
    mean = np.where(valid, grey, np.float32(0.0)).sum(axis=(1, 2)) / count
    apart = np.where(valid, grey - mean[:, None, None], np.float32(0.0))
    return np.sqrt(np.einsum("npq,npq->n", apart, apart) / count)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    if values.size == 0:
        return math.nan, math.nan
    below, above = int(0.01 * (values.size - 1)), math.ceil(0.99 * (values.size - 1))
    ordered = np.partition(values, (below, above))
    return float(ordered[below]), float(ordered[above])


def _noise(grey: np.ndarray) -> float:
    """Standard deviation of the noise, after J. Immerkaer, Fast Noise Variance Estimation (1996).

    His mask is blind to constant and linear structure. Noise is in every patch and texture in some,
    so the lower quartile over the patches separates them.
    """
    if min(grey.shape[1:]) < 3:
        return 0.0
    across = grey[:, :, :-2] - 2.0 * grey[:, :, 1:-1] + grey[:, :, 2:]
    both = np.abs(across[:, :-2] - 2.0 * across[:, 1:-1] + across[:, 2:])
    if np.isnan(both).any():
        usable = np.isfinite(both)
        count = usable.sum(axis=(1, 2))
        if not count.any():
            return 0.0
        total = np.where(usable, both, 0.0).sum(axis=(1, 2))
        means = total[count > 0] / count[count > 0]
    else:
        means = both.mean(axis=(1, 2))
    quartile = np.partition(means, len(means) // 4)[len(means) // 4]
    return float(quartile) * math.sqrt(math.pi / 2.0) / 6.0


def _sharpness(grey: np.ndarray, edge_contrast: float) -> float:
    contrast = grey.max(axis=(1, 2)) - grey.min(axis=(1, 2))
    edged = contrast >= edge_contrast
    if min(grey.shape[1:]) < 3 or not edged.any():
        return math.nan
    edges = grey[edged]
    # Sobel's mask: smoothed along the edge, so that the sensor's noise does not pass for sharpness.
    rows = edges[:, :-2] + 2.0 * edges[:, 1:-1] + edges[:, 2:]
    columns = edges[:, :, :-2] + 2.0 * edges[:, :, 1:-1] + edges[:, :, 2:]
    slope_x = np.abs(rows[:, :, 2:] - rows[:, :, :-2]).max(axis=(1, 2)) / 8.0
    slope_y = np.abs(columns[:, 2:] - columns[:, :-2]).max(axis=(1, 2)) / 8.0
    steepness_x = slope_x / contrast[edged]
    steepness_y = slope_y / contrast[edged]
    return float(min(steepness_x.max(), steepness_y.max()))


Findings = dict[str, str]


class Sameness:
    """How long a picture has been the same but for its last digit.

    A driver that hangs may add noise to the frame that it repeats, or its link may. The noise of a
    live sensor has no bound: among thousands of pixels some leave any such range within a second.

    Args:
        noise: no pixel differs by more than twice this from any of its values in that time.
    """

    def __init__(self, noise: float) -> None:
        # Values were rounded to the sensor's digits, and to 32 bits.
        self._range = 2.0 * noise * 1.01
        self._low = self._high = np.zeros(0)
        self._frames = 0

    def after(self, sample: np.ndarray) -> int:
        """Take the sampled pixels (N,) of a frame; return how many frames it is the same."""
        if sample.shape == self._low.shape and sample.dtype == self._low.dtype:
            # NaN where either has none: a pixel that comes or goes is a change.
            low, high = np.minimum(self._low, sample), np.maximum(self._high, sample)
            holes = sample.dtype.kind == "f" and np.isnan(low)
            both = holes is False or (holes == np.isnan(sample)).all()
            apart = (high - low)[~holes] if holes is not False else high - low
            if both and not (apart > self._range).any():
                self._low, self._high = low, high
                self._frames += 1
                return self._frames
        self._low = self._high = sample
        self._frames = 1
        return 1


class Appearance:
    """Judges the pixels of one stream's frames, in their order.

    Attributes:
        invalid_share: of the newest frame.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        self._limits = thresholds
        self._sameness = Sameness(thresholds.frozen_noise)
        self.invalid_share = 0.0
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
        self.invalid_share = statistics.invalid_share
        if limits.frozen_repeats and self._repeats >= limits.frozen_repeats and not losing:
            losing["frozen"] = f"the same frame {self._repeats + 1} times"
        if limits.frozen_noise > 0.0:
            same = self._sameness.after(np.frombuffer(statistics.content, frame.dtype))
            if same >= limits.frozen_frames and not losing:
                losing["frozen"] = (
                    f"the same picture {same} times, but for noise of {limits.frozen_noise:g}"
                )
        return losing, {} if losing else self._persistent(self._damage(statistics))

    def _unusable(self, statistics: FrameStatistics) -> Findings:
        limits = self._limits
        if statistics.invalid_share > limits.invalid_share:
            return {"invalid": f"{statistics.invalid_share:.0%} of the pixels hold no value"}
        if statistics.high < limits.black_below:
            return {"blank": "the frame is black"}
        if statistics.low > limits.white_above:
            return {"blank": "the frame is saturated"}
        if statistics.flat_share >= limits.blank_share:
            return {"blank": "the frame is constant"}
        return {}

    def _damage(self, statistics: FrameStatistics) -> Findings:
        limits = self._limits
        found = {}
        if statistics.flat_share >= limits.occluded_share:
            found["occluded"] = f"{statistics.flat_share:.0%} of the frame is constant"
        elif statistics.invalid_share > limits.gap_share:
            found["occluded"] = f"{statistics.invalid_share:.0%} of the pixels hold no value"
        if statistics.noise > limits.noise_above:
            found["noisy"] = (
                f"noise of {statistics.noise:.3g}, at most {limits.noise_above:g} is normal"
            )
        # False where the sharpness is NaN, where sharpness is unknown.
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
