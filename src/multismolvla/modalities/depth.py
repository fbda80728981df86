"""Depth cameras: metres along the optical axis, NaN where nothing came back (REP 118)."""

import math
from dataclasses import dataclass
from types import MappingProxyType

import cv2

from multismolvla.modalities.modality import (
    AUTO,
    FLOAT32,
    UINT16,
    Colours,
    Counts,
    Damage,
    Guess,
    Modality,
    PosePicture,
    Preparation,
    Relief,
    Variation,
    no_value_setting,
)
from multismolvla.modalities.thresholds import Thresholds
from multismolvla.setting import setting


@dataclass(frozen=True)
class DepthCounts(Counts):
    """Millimetres, as REP 118 has them, unless a camera counts otherwise."""

    UNITS = MappingProxyType({"metres": (1.0, 0.0), "millimetres": (0.001, 0.0)})
    # Above what 16 bits of millimetres hold.
    GUESSES = (Guess(66.0, math.inf, "units", "millimetres"),)

    scale: float = setting(
        0.001,
        "Metres per count of a 16-bit depth image; images of floats are metres already.",
        1e-6,
        1.0,
        unit="m",
        name="raw_unit_m",
    )
    # The least and the greatest of 16 bits: drivers have either for what did not come back.
    no_value: str = no_value_setting("0 65535")
    units: str = setting(
        AUTO,
        "Of images of floats; auto is metres, and refused where they look like millimetres.",
        choices=(AUTO, *UNITS),
    )


DEPTH = Modality(
    name="depth",
    unit="m",
    dtype=FLOAT32,
    no_return=True,
    blends=False,
    encoding="32FC1",
    raw_encodings=("16UC1", "mono16", "32FC1", "64FC1"),
    counts=DepthCounts(UINT16),
    # A depth camera quantises to millimetres, so a patch of table may well be constant: only a
    # frame that is constant everywhere is blank.
    health=Thresholds(
        # The last digit that the sensor gives.
        frozen_noise=0.001,
        minimum=0.02,
        maximum=65.0,
        flat_std=1e-5,
        blank_share=1.0,
        occluded_share=math.inf,
        # A wrist camera that looks past the table's edge has no return there.
        gap_share=0.8,
        noise_above=0.03,
    ),
    pixel_step=0.02,
    damage=Damage(
        black=math.nan,
        # The greatest of 16 bits.
        white=65.535,
        span=1.0,
        broken=(0.1, 2.0),
        cover=(0.06,),
        cover_noise=0.001,
        smoke=math.nan,
    ),
    # A table top is half a metre from its camera; a wrist sees from 0.05 m, a scene ends at some
    # 2 m. Things on a table stand out by some centimetres from a slope of half a metre, which is
    # what the relief shows.
    prepare=Preparation(
        centre=(0.5,),
        scale=(0.25,),
        validity=True,
        relief=Relief(scale=0.02, width=0.26, most=3.0),
    ),
    pose=PosePicture(centre=0.5, scale=0.5, low=-1.0, high=2.0),
    vary=Variation(blotches=1.0, noise=0.5, key="depth_m"),
    colours=Colours(0.05, 1.0, cv2.COLORMAP_VIRIDIS, reverse=True),
    scene=(0.3, 0.9),
)
