"""Raw frames to units, to the size of the stream table, and to the counts that are stored.

Used live, in replay and in training, so that the policy never sees the difference. Counts are those
of raw images, so a stored frame is a raw one.
"""

from __future__ import annotations

import cv2
import numpy as np

from multismolvla.modalities.modality import AUTO, Counts, Modality

# A pixel of the smaller image has a value if at least this share of the pixels under it has one.
_MIN_VALID_SHARE = 0.5
# Every so many rows and columns are plenty for a median.
_STRIDE = 8


def to_units(modality: Modality, raw: np.ndarray, counts: Counts | None = None) -> np.ndarray:
    """Turn a raw frame into the unit of its kind, at the size it has.

    Args:
        raw: (H, W) counts or values in units, of colours (H, W, 3).
        counts: what integers mean, where the camera counts otherwise than its kind.

    Returns:
        A frame of `modality.dtype`, NaN where there is no value.

    Raises:
        ValueError: wrong shape or type, no pixels, a label that does not exist, or values that
            look like those of another unit than is declared; one line.
    """
    raw = _checked(modality, raw)
    if modality.is_float:
        meaning = counts or modality.counts
        floats = raw.dtype == np.float32
        values = _in_units(raw, meaning) if floats else _scaled(raw, meaning)
        # NaN, and infinities of either sign.
        there = np.abs(values) < np.inf
        if modality.no_return:
            # Zero and negative: other forms in which cameras report that nothing came back.
            there &= values > 0.0
        if not floats:
            for count in meaning.missing:
                there &= raw != count
        if not there.all():
            values = np.where(there, values, np.float32(np.nan))
        _check_plausible(modality, meaning, values, floats)
        return values
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

    Where there is no value a count is 0. Of distances it is also where the value is out of range;
    others are clipped to what the integers hold.
    """
    if not modality.is_float:
        return frame
    counts = modality.counts
    scale, most = np.float32(counts.scale), np.iinfo(counts.dtype).max
    if modality.no_return:
        found = np.rint(np.nan_to_num(frame, nan=0.0, posinf=0.0, neginf=0.0) / scale)
        there = (found > 0) & (found <= most)
        for count in counts.missing:
            there &= found != count
        return np.where(there, found, 0).astype(counts.dtype)
    # A count of 0 where there is no value.
    zero = np.float32(counts.offset)
    found = np.rint((np.nan_to_num(frame, nan=zero) - zero) / scale)
    return np.clip(found, 0, most).astype(counts.dtype)


def from_counts(modality: Modality, stored: np.ndarray) -> np.ndarray:
    """Stored frames (..., H, W[, 3]) in units, as the sensor nodes would give them."""
    if not modality.is_float:
        return stored
    values = _scaled(stored, modality.counts)
    if not modality.has_holes:
        return values
    there = stored > 0
    for count in modality.counts.missing:
        if count:
            there &= stored != count
    return np.where(there, values, np.float32(np.nan))


def _in_units(values: np.ndarray, counts: Counts) -> np.ndarray:
    scale, offset = counts.UNITS.get(counts.units, (1.0, 0.0))
    if (scale, offset) == (1.0, 0.0):
        return values
    return values * np.float32(scale) + np.float32(offset)


def _check_plausible(modality: Modality, counts: Counts, values: np.ndarray, floats: bool) -> None:
    """Refuse units that are not what they were taken for; those that were declared are believed."""
    declared = counts.units != AUTO if floats else counts.scale != modality.counts.scale
    guesses = counts.GUESSES if floats else counts.COUNT_GUESSES
    if declared or not guesses:
        return
    some = values[::_STRIDE, ::_STRIDE]
    some = some[np.isfinite(some)]
    if not len(some):
        return
    middle = float(np.median(some))
    for guess in guesses:
        if guess.low <= middle <= guess.high:
            raise ValueError(
                f"the middle pixel is {middle:.4g} {modality.unit}: {guess.setting} "
                f"{guess.value}? set {modality.name}.{guess.setting}, under 'camera' in the stream "
                f"table or of {modality.name}_node"
            )


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
