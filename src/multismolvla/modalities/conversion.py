"""Raw frames to units, to the size of the stream table, and to the counts that are stored.

Used live, in replay and in training, so that the policy never sees the difference. Counts are those
of raw images, so a stored frame is a raw one.
"""

from __future__ import annotations

import cv2
import numpy as np

from multismolvla.modalities.modality import Counts, Modality

# A pixel of the smaller image has a value if at least this share of the pixels under it has one.
_MIN_VALID_SHARE = 0.5


def to_units(modality: Modality, raw: np.ndarray, counts: Counts | None = None) -> np.ndarray:
    """Turn a raw frame into the unit of its kind, at the size it has.

    Args:
        raw: (H, W) counts or values in units, of colours (H, W, 3).
        counts: what integers mean, where the camera counts otherwise than its kind.

    Returns:
        A frame of `modality.dtype`, NaN where there is no value.

    Raises:
        ValueError: wrong shape or type, no pixels, or a label that does not exist.
    """
    raw = _checked(modality, raw)
    if modality.is_float:
        values = raw if raw.dtype == np.float32 else _scaled(raw, counts or modality.counts)
        if not modality.no_return:
            return values
        # Zero, negative and infinite: cameras report in these forms that nothing came back.
        return np.where((values > 0.0) & (values < np.inf), values, np.float32(np.nan))
    if modality.labels and raw.max() >= len(modality.labels):
        raise ValueError(
            f"{modality.name} frame has label {raw.max()}; expected 0 to {len(modality.labels) - 1}"
        )
    return raw


def resize(modality: Modality, frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bring a frame in units to (height, width).

    Pixels are averaged over the area they cover; where values are missing, over those that are
    there. Labels are picked, never mixed. A frame that has the size is returned as it is.
    """
    if frame.shape[:2] == (height, width):
        return frame
    if modality.labels:
        return cv2.resize(frame, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    smaller = height <= frame.shape[0] and width <= frame.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    if frame.dtype == np.float32:
        present = np.isfinite(frame)
        if not present.all():
            # cv2 counts a NaN into every pixel it touches: average values and presence apart.
            filled = np.where(present, frame, np.float32(0.0))
            total = cv2.resize(filled, (width, height), interpolation=interpolation)
            share = cv2.resize(
                present.astype(np.float32), (width, height), interpolation=interpolation
            )
            # Rounding may leave a share a hair below the half that it is.
            enough = share >= _MIN_VALID_SHARE - 1e-6
            return np.where(enough, total / np.where(enough, share, 1.0), np.nan).astype(np.float32)
    return cv2.resize(frame, (width, height), interpolation=interpolation)


def condition(
    modality: Modality, raw: np.ndarray, height: int, width: int, counts: Counts | None = None
) -> np.ndarray:
    """Turn a raw frame into a conditioned one: `to_units`, then `resize`.

    Raises:
        ValueError: see `to_units`.
    """
    return resize(modality, to_units(modality, raw, counts), height, width)


def to_counts(modality: Modality, frame: np.ndarray) -> np.ndarray:
    """Frames in units (..., H, W[, 3]) as they are stored; colours and labels stay as they are.

    Where nothing came back, or the value is out of range, a count is 0. Other values are clipped to
    what the integers hold; NaN becomes the least.
    """
    if not modality.is_float:
        return frame
    counts = modality.counts
    scale, most = np.float32(counts.scale), np.iinfo(counts.dtype).max
    if modality.no_return:
        found = np.rint(np.nan_to_num(frame, nan=0.0, posinf=0.0, neginf=0.0) / scale)
        return np.where((found > 0) & (found <= most), found, 0).astype(counts.dtype)
    zero = np.float32(counts.offset)
    found = np.rint((np.nan_to_num(frame, nan=zero) - zero) / scale)
    return np.clip(found, 0, most).astype(counts.dtype)


def from_counts(modality: Modality, stored: np.ndarray) -> np.ndarray:
    """Stored frames (..., H, W[, 3]) in units, as the sensor nodes would give them."""
    if not modality.is_float:
        return stored
    values = _scaled(stored, modality.counts)
    return np.where(stored > 0, values, np.float32(np.nan)) if modality.no_return else values


def _scaled(stored: np.ndarray, counts: Counts) -> np.ndarray:
    values = stored * np.float32(counts.scale)
    return values + np.float32(counts.offset) if counts.offset else values


def _checked(modality: Modality, raw: np.ndarray) -> np.ndarray:
    trailing = modality.trailing
    types = dict.fromkeys((modality.counts.dtype, modality.dtype))
    right = raw.ndim == 2 + len(trailing) and raw.shape[2:] == trailing and raw.size > 0
    if not right or raw.dtype.newbyteorder("=") not in types:
        shape = f"({', '.join(('H', 'W', *map(str, trailing)))})"
        names = " or ".join(expected.name for expected in types)
        raise ValueError(
            f"{modality.name} frame is {raw.shape} {raw.dtype}; "
            f"expected {shape} {names}, at least one pixel"
        )
    # The other byte order would be another dtype to every comparison and to OpenCV.
    return raw if raw.dtype.isnative else raw.astype(raw.dtype.newbyteorder("="))
