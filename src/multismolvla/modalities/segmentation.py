"""Label images: what each pixel belongs to."""

import math

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

# Label -> its colour for people, BGR; the objects in their own. Place = value in a label image.
_COLOURS = {
    "background": (40, 40, 40),
    "table": (150, 180, 200),
    "arm": (200, 200, 200),
    "gripper": (230, 140, 240),
    "bin": (120, 80, 60),
    "plate": (240, 240, 240),
    "cube": (40, 40, 220),
    "cylinder": (230, 120, 30),
    "brick": (60, 180, 60),
}
LABELS: tuple[str, ...] = tuple(_COLOURS)

SEGMENTATION = Modality(
    name="segmentation",
    unit="labels",
    dtype=UINT8,
    labels=LABELS,
    blends=False,
    encoding="mono8",
    raw_encodings=("mono8", "8UC1"),
    counts=Counts(UINT8),
    # A label image of a still scene repeats itself, and one of an empty scene is constant.
    health=Thresholds(frozen_repeats=0, flat_std=-math.inf),
    pixel_step=0.5,
    damage=Damage(
        black=0,
        white=len(LABELS) - 1,
        span=len(LABELS) - 1,
        broken=(0, len(LABELS) - 1),
        cover=(0,),
        cover_noise=0.0,
    ),
    prepare=Preparation(),
    pose=PosePicture(centre=0.5, scale=0.5, labels=("arm", "gripper", "table", "background")),
    colours=Colours(palette=tuple(_COLOURS.values())),
    scene=(0, len(LABELS) - 1),
)
