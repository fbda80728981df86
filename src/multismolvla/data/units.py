"""Between frames in SI units and the 16-bit counts in which they are stored.

Depth is kept in millimetres with 0 for no return (REP 118), temperature in centikelvin, what
radiometric cameras give: the defaults of the sensor nodes, so a stored frame is a raw one.
"""

from __future__ import annotations

import numpy as np

from multismolvla.streams import KINDS

MILLIMETRE = np.float32(0.001)
CENTIKELVIN = np.float32(0.01)
ZERO_KELVIN_C = np.float32(-273.15)
_MAX_COUNT = 65535

STORED_DTYPES = {
    "rgb": np.dtype(np.uint8),
    "depth": np.dtype(np.uint16),
    "thermal": np.dtype(np.uint16),
    "segmentation": np.dtype(np.uint8),
}


def kind_of(stream: str) -> str:
    """`depth` for `wrist/depth`.

    Raises:
        ValueError: the stream's name does not end in a kind.
    """
    kind = stream.rpartition("/")[2]
    if kind not in KINDS:
        raise ValueError(f"stream '{stream}' is of no known kind; expected one of {KINDS}")
    return kind


def to_counts(kind: str, frame: np.ndarray) -> np.ndarray:
    """Frames in SI units (..., H, W[, 3]) as they are stored; colours and labels stay as they are.

    Depth outside (0, 65.535] m, NaN included, becomes 0. Temperatures are clipped to what 16 bits
    hold; NaN becomes 0 K.
    """
    if kind == "depth":
        counts = np.rint(np.nan_to_num(frame, nan=0.0, posinf=0.0, neginf=0.0) / MILLIMETRE)
        return np.where((counts > 0) & (counts <= _MAX_COUNT), counts, 0).astype(np.uint16)
    if kind == "thermal":
        counts = np.rint((np.nan_to_num(frame, nan=ZERO_KELVIN_C) - ZERO_KELVIN_C) / CENTIKELVIN)
        return np.clip(counts, 0, _MAX_COUNT).astype(np.uint16)
    return frame


def from_counts(kind: str, counts: np.ndarray) -> np.ndarray:
    """Stored frames (..., H, W[, 3]) in SI units, as the sensor nodes would give them.

    Depth float32 metres with NaN for no return; thermal float32 degrees Celsius; rgb and
    segmentation uint8 as they are.
    """
    if kind == "depth":
        return np.where(counts > 0, counts * MILLIMETRE, np.float32(np.nan))
    if kind == "thermal":
        return counts * CENTIKELVIN + ZERO_KELVIN_C
    return counts
