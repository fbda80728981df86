"""When a stream counts as damaged: one number per judgement and kind of sensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

from multismolvla.streams import KINDS


@dataclass(frozen=True)
class Thresholds:
    """Limits of `StreamHealth`, in the units of the kind (levels of 255, metres, degrees Celsius).

    A limit that is infinite is not judged.

    Attributes:
        stale_periods: silence of this many frame periods loses the stream. One lost frame is then
            no loss of the stream, and the news of a real one still reaches the policy within 2
            periods and 20 ms.
        slow_fraction: a rate below this share of the nominal one is slow.
        recovery_frames: good frames in a row that end a loss or a warning.
        frozen_repeats: identical frames after the first that lose the stream; 0 = never.
        bad_stamp_frames: bad stamps in a row that lose the stream; fewer degrade it.
        max_future_s: a stamp further ahead of the clock is bad.
        max_age_s: a stamp further behind the clock is bad.
        minimum, maximum: the sensor's range; pixels outside it are invalid, as NaN is.
        invalid_share: share of invalid pixels above which a frame is unusable.
        gap_share: share of invalid pixels above which the view counts as occluded.
        black_below: a frame whose 99th percentile lies below this is black.
        white_above: a frame whose 1st percentile lies above this is saturated.
        flat_std: a patch with no more deviation than this is constant; live sensors are noisy.
        blank_share: share of constant patches from which on a frame is blank.
        occluded_share: share of constant patches from which on the view counts as occluded.
        noise_above: noise (standard deviation) above this is damage.
        sharpness_below: edges softer than this (see `FrameStatistics`) are blurred.
        edge_contrast: contrast that a patch needs before its edges are judged.
        soft_frames: noisy, blurred or occluded frames in a row before the stream is degraded.
    """

    stale_periods: float = 2.0
    slow_fraction: float = 0.75
    recovery_frames: int = 5
    frozen_repeats: int = 3
    bad_stamp_frames: int = 3
    max_future_s: float = 0.1
    max_age_s: float = 1.0
    minimum: float = -math.inf
    maximum: float = math.inf
    invalid_share: float = 0.95
    gap_share: float = 0.6
    black_below: float = -math.inf
    white_above: float = math.inf
    flat_std: float = 0.0
    blank_share: float = 0.9
    occluded_share: float = 0.25
    noise_above: float = math.inf
    sharpness_below: float = -math.inf
    edge_contrast: float = math.inf
    soft_frames: int = 5


DEFAULTS: dict[str, Thresholds] = {
    "rgb": Thresholds(
        black_below=16.0,
        white_above=250.0,
        flat_std=0.25,
        # Measured on the mean of the three channels, which has 0.58 of a channel's noise.
        noise_above=8.0,
        sharpness_below=0.2,
        edge_contrast=40.0,
    ),
    # A depth camera quantises to millimetres, so a patch of table may well be constant: only a
    # frame that is constant everywhere is blank.
    "depth": Thresholds(
        minimum=0.02,
        maximum=65.0,
        flat_std=1e-5,
        blank_share=1.0,
        occluded_share=math.inf,
        # A wrist camera that looks past the table's edge has no return there.
        gap_share=0.8,
        noise_above=0.03,
    ),
    "thermal": Thresholds(
        minimum=-40.0,
        maximum=550.0,
        flat_std=0.002,
        noise_above=1.5,
    ),
    # A label image of a still scene repeats itself, and one of an empty scene is constant.
    "segmentation": Thresholds(
        frozen_repeats=0,
        flat_std=-math.inf,
    ),
}

assert set(DEFAULTS) == set(KINDS)
