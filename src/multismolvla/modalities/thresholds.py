"""When a stream counts as damaged: one number per judgement."""

from __future__ import annotations

import math
from dataclasses import dataclass

from multismolvla.setting import setting


@dataclass(frozen=True)
class Thresholds:
    """Limits of `StreamHealth`, in the unit of the kind of image.

    A limit that is infinite is not judged. One lost frame is no loss of a stream, and the news of a
    real loss still reaches the policy within `stale_periods` and 20 ms.
    """

    stale_periods: float = setting(
        2.0, "Frame periods of silence that lose the stream.", 1.1, 100.0
    )
    slow_fraction: float = setting(
        0.75, "A rate below this share of the nominal one is slow.", 0.0, 1.0
    )
    recovery_frames: int = setting(5, "Good frames in a row that end a loss or a warning.", 1, 1000)
    frozen_repeats: int = setting(
        3, "Repeats of the same frame that lose the stream; 0 = never.", 0, 1000
    )
    frozen_noise: float = setting(
        -math.inf,
        "A picture in which no pixel leaves a range of twice this is still the same; 0 = none is.",
        0.0,
        100.0,
    )
    frozen_frames: int = setting(
        30,
        "Frames with the same picture and no more than that noise that lose the stream.",
        2,
        1000,
    )
    bad_stamp_frames: int = setting(3, "Bad stamps in a row that lose the stream.", 1, 1000)
    max_future_s: float = setting(
        0.1, "A stamp this far ahead of the clock is bad, seconds.", 0.0, 3600.0, unit="s"
    )
    max_age_s: float = setting(
        1.0, "A stamp this far behind the clock is bad, seconds.", 0.0, 3600.0, unit="s"
    )
    minimum: float = setting(-math.inf, "Least value that the sensor can give.", -300.0, 5000.0)
    maximum: float = setting(math.inf, "Greatest value that the sensor can give.", -300.0, 5000.0)
    invalid_share: float = setting(
        0.95, "A frame with a greater share of invalid pixels is unusable.", 0.0, 1.0
    )
    gap_share: float = setting(
        0.6, "A greater share of invalid pixels counts as an occluded view.", 0.0, 1.0
    )
    black_below: float = setting(
        -math.inf, "A frame whose 99th percentile is lower is black.", 0.0, 256.0
    )
    white_above: float = setting(
        math.inf, "A frame whose 1st percentile is higher is saturated.", 0.0, 256.0
    )
    flat_std: float = setting(
        0.0, "A patch with no more deviation than this is constant.", 0.0, 256.0
    )
    blank_share: float = setting(
        0.9, "A frame with this share of constant patches is blank.", 0.0, 1.0
    )
    occluded_share: float = setting(
        0.25, "A view with this share of constant patches is occluded.", 0.0, 1.0
    )
    noise_above: float = setting(
        math.inf, "Greater noise (standard deviation) is damage.", 0.0, 1000.0
    )
    sharpness_below: float = setting(
        -math.inf, "Edges softer than this share of their contrast are blurred.", 0.0, 0.5
    )
    edge_contrast: float = setting(
        math.inf, "Contrast that a patch needs for its edges to be judged.", 0.0, 256.0
    )
    soft_frames: int = setting(
        5, "Noisy, blurred or occluded frames in a row that degrade.", 1, 1000
    )
