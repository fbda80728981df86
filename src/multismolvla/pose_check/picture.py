"""A conditioned frame as the network of the pose check takes it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from multismolvla.modalities.modality import Modality

# Height and width: enough to detect a gripper that is two centimetres off.
SIZE = 48


def to_picture(modality: Modality, frame: np.ndarray) -> np.ndarray:
    """Return a conditioned frame of any size as (modality.pose_channels, SIZE, SIZE) float32.

    Args:
        frame: as in `interfaces.Observation.frames`.
    """
    given = modality.pose
    if modality.no_return:
        seen = np.isfinite(frame)
        # Nearest: the mean depth of gripper and table is that of neither.
        values = cv2.resize(
            np.where(seen, frame, np.float32(0.0)), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST
        )
        picture = np.stack(((values - given.centre) / given.scale, values == 0.0))
        return picture.clip(given.low, given.high).astype(np.float32)
    if modality.labels:
        shown = [frame == modality.labels.index(label) for label in given.labels]
        values = _smaller(np.stack(shown, axis=-1).astype(np.float32))
    else:
        values = _smaller(np.nan_to_num(frame, nan=given.centre) if modality.is_float else frame)
    picture = (values - np.float32(given.centre)) / np.float32(given.scale)
    if given.high < math.inf:
        picture = picture.clip(given.low, given.high)
    return picture.transpose(2, 0, 1) if picture.ndim == 3 else picture[None]


def _smaller(frame: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE[, C]) float32, each pixel the mean of those that it covers."""
    sized = cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return sized.astype(np.float32, copy=False)
