"""Radiometric thermal cameras: degrees Celsius."""

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
    Variation,
    no_value_setting,
)
from multismolvla.modalities.thresholds import Thresholds
from multismolvla.setting import setting


@dataclass(frozen=True)
class ThermalCounts(Counts):
    """Centikelvin, as radiometric FLIR and Seek cameras give, unless a camera counts otherwise."""

    UNITS = MappingProxyType({"celsius": (1.0, 0.0), "kelvin": (1.0, -273.15)})
    # A scene between -43 and 72 degrees Celsius.
    GUESSES = (Guess(230.0, 345.0, "units", "kelvin"),)
    # The same scene in the steps of other cameras, taken for centikelvin.
    COUNT_GUESSES = (
        Guess(-270.9, -269.6, "scale", "1.0"),
        Guess(-250.2, -238.6, "scale", "0.1"),
        Guess(-215.7, -186.9, "scale", "0.04"),
    )

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
    # Absolute zero in centikelvin; cameras have it where they have measured nothing.
    no_value: str = no_value_setting("0")
    units: str = setting(
        AUTO,
        "Of images of floats; auto is Celsius, and refused where they look like Kelvin.",
        choices=(AUTO, *UNITS),
    )


THERMAL = Modality(
    name="thermal",
    unit="degrees Celsius",
    dtype=FLOAT32,
    encoding="32FC1",
    raw_encodings=("mono16", "16UC1", "32FC1", "64FC1"),
    counts=ThermalCounts(UINT16),
    health=Thresholds(
        minimum=-40.0,
        maximum=550.0,
        # A thermal camera sees something everywhere.
        gap_share=0.2,
        # The last digit that the sensor gives.
        frozen_noise=0.01,
        flat_std=0.002,
        noise_above=1.5,
    ),
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
