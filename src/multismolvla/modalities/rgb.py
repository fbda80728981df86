"""Colour cameras: 8-bit levels."""

from multismolvla.modalities.modality import (
    UINT8,
    Colours,
    Counts,
    Damage,
    Modality,
    PosePicture,
    Preparation,
)
from multismolvla.modalities.thresholds import Thresholds

RGB = Modality(
    name="rgb",
    unit="levels",
    dtype=UINT8,
    channels=3,
    encoding="rgb8",
    counts=Counts(UINT8),
    health=Thresholds(
        # The last digit that the sensor gives.
        frozen_noise=1.0,
        black_below=16.0,
        white_above=250.0,
        flat_std=0.25,
        # Measured on the mean of the three channels, which has 0.58 of a channel's noise.
        noise_above=8.0,
        sharpness_below=0.2,
        edge_contrast=40.0,
    ),
    pixel_step=40.0,
    damage=Damage(
        black=0,
        white=255,
        span=255.0,
        broken=(0, 255),
        cover=(70.0, 55.0, 50.0),
        cover_noise=6.0,
        smoke=190.0,
    ),
    # Mean and standard deviation of ImageNet's RGB, which 4M-21 was trained with.
    prepare=Preparation(centre=(0.485, 0.456, 0.406), scale=(0.229, 0.224, 0.225), full=255.0),
    pose=PosePicture(centre=128.0, scale=128.0),
    colours=Colours(),
    scene=(0, 255),
)
