"""Radiometric thermal cameras: degrees Celsius."""

from dataclasses import dataclass

import cv2

from multismolvla.modalities.modality import (
    FLOAT32,
    UINT16,
    Colours,
    Counts,
    Damage,
    Modality,
    PosePicture,
    Preparation,
    Variation,
)
from multismolvla.modalities.thresholds import Thresholds
from multismolvla.setting import setting


@dataclass(frozen=True)
class ThermalCounts(Counts):
    """Centikelvin, as radiometric FLIR and Seek cameras give, unless a camera counts otherwise."""

    scale: float = setting(
        0.01,
        "Degrees Celsius per count; images of floats are degrees already.",
        1e-6,
        100.0,
        unit="degrees C",
    )
    offset: float = setting(
        -273.15, "Degrees Celsius at a count of zero.", -1000.0, 1000.0, unit="degrees C"
    )


THERMAL = Modality(
    name="thermal",
    unit="degrees Celsius",
    dtype=FLOAT32,
    encoding="32FC1",
    raw_encodings=("mono16", "16UC1", "32FC1"),
    counts=ThermalCounts(UINT16),
    health=Thresholds(minimum=-40.0, maximum=550.0, flat_std=0.002, noise_above=1.5),
    pixel_step=3.0,
    damage=Damage(
        # The least and the greatest of 16 bits.
        black=-273.15,
        white=382.2,
        span=40.0,
        broken=(-20.0, 120.0),
        cover=(33.0,),
        cover_noise=0.1,
    ),
    # Room temperature; hands, motors and warm drinks lie within two scales of it.
    prepare=Preparation(centre=(25.0,), scale=(20.0,)),
    # Around what a table in a room has; a person's hand is two units above it.
    pose=PosePicture(centre=25.0, scale=10.0, low=-3.0, high=3.0),
    vary=Variation(blotches=0.3, noise=0.1, key="thermal_c"),
    colours=Colours(5.0, 60.0, cv2.COLORMAP_INFERNO),
    scene=(15.0, 40.0),
)
