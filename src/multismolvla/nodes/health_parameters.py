"""The thresholds of stream health as parameters of a node."""

from __future__ import annotations

import math
from dataclasses import replace

from rclpy.node import Node

from multismolvla.nodes.parameters import declare
from multismolvla.sensing.thresholds import DEFAULTS, Thresholds

# Field of Thresholds -> range and description.
_PARAMETERS = {
    "stale_periods": (1.1, 100.0, "Frame periods of silence that lose the stream."),
    "slow_fraction": (0.0, 1.0, "A rate below this share of the nominal one is slow."),
    "recovery_frames": (1, 1000, "Good frames in a row that end a loss or a warning."),
    "frozen_repeats": (0, 1000, "Repeats of the same picture that lose the stream; 0 = never."),
    "bad_stamp_frames": (1, 1000, "Bad stamps in a row that lose the stream."),
    "max_future_s": (0.0, 3600.0, "A stamp this far ahead of the clock is bad, seconds."),
    "max_age_s": (0.0, 3600.0, "A stamp this far behind the clock is bad, seconds."),
    "minimum": (-300.0, 5000.0, "Least value that the sensor can give."),
    "maximum": (-300.0, 5000.0, "Greatest value that the sensor can give."),
    "invalid_share": (0.0, 1.0, "A frame with a greater share of invalid pixels is unusable."),
    "gap_share": (0.0, 1.0, "A greater share of invalid pixels counts as an occluded view."),
    "black_below": (0.0, 256.0, "A frame whose 99th percentile is lower is black."),
    "white_above": (0.0, 256.0, "A frame whose 1st percentile is higher is saturated."),
    "flat_std": (0.0, 256.0, "A patch with no more deviation than this is constant."),
    "blank_share": (0.0, 1.0, "A frame with this share of constant patches is blank."),
    "occluded_share": (0.0, 1.0, "A view with this share of constant patches is occluded."),
    "noise_above": (0.0, 1000.0, "Greater noise (standard deviation) is damage."),
    "sharpness_below": (0.0, 0.5, "Edges softer than this share of their contrast are blurred."),
    "edge_contrast": (0.0, 256.0, "Contrast that a patch needs for its edges to be judged."),
    "soft_frames": (1, 1000, "Noisy, blurred or occluded frames in a row that degrade."),
}


def declare_thresholds(node: Node, kind: str) -> Thresholds:
    """Declare what is judged for a kind of sensor and return the thresholds.

    Raises:
        ParameterError: a value is out of range.
    """
    defaults = DEFAULTS[kind]
    given = {}
    for name, (minimum, maximum, description) in _PARAMETERS.items():
        default = getattr(defaults, name)
        if not math.isinf(default):
            given[name] = declare(
                node,
                name,
                default,
                description,
                minimum=minimum,
                maximum=maximum,
                read_only=True,
            )
    return replace(defaults, **given)
