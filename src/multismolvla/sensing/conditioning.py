"""Raw camera frames to conditioned ones: SI units, NaN for no value, the size of the stream table.

Used live, in replay and in training, so that the policy never sees the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from multismolvla.setting import setting
from multismolvla.streams import KINDS, LABELS

# A pixel of the smaller image has a value if at least this share of the pixels under it has one.
_MIN_VALID_SHARE = 0.5


@dataclass(frozen=True)
class RawUnits:
    """What the integers of a raw image mean; images of floats are in SI units already.

    Metres = counts * depth_m (REP 118: millimetres), degrees Celsius = counts * thermal_scale +
    thermal_offset. The defaults of the latter are centikelvin, what radiometric FLIR and Seek
    cameras give. A field of one kind of sensor begins with the kind.
    """

    depth_m: float = setting(
        0.001,
        "Metres per count of a 16-bit depth image; images of floats are metres already.",
        1e-6,
        1.0,
        unit="m",
        name="raw_unit_m",
    )
    thermal_scale: float = setting(
        0.01,
        "Degrees Celsius per count; images of floats are degrees already.",
        1e-6,
        100.0,
        unit="degrees C",
        name="scale",
    )
    thermal_offset: float = setting(
        -273.15,
        "Degrees Celsius at a count of zero.",
        -1000.0,
        1000.0,
        unit="degrees C",
        name="offset",
    )


def to_units(kind: str, raw: np.ndarray, units: RawUnits | None = None) -> np.ndarray:
    """Turn a raw frame into the units of its kind, at the size it has.

    Args:
        raw: rgb (H, W, 3) uint8; depth (H, W) uint16 counts, 0 = no return, or float32 metres;
            thermal (H, W) uint16 counts or float32 degrees Celsius; segmentation (H, W) uint8.

    Returns:
        rgb (H, W, 3) uint8; depth (H, W) float32 metres, NaN = no return; thermal (H, W) float32
        degrees Celsius; segmentation (H, W) uint8 labels.

    Raises:
        ValueError: wrong shape or type, no pixels, or a label that does not exist.
    """
    units = units or RawUnits()
    if kind == "rgb":
        return _checked(kind, raw, (np.uint8,), channels=3)
    if kind == "depth":
        raw = _checked(kind, raw, (np.uint16, np.float32))
        depth = raw * np.float32(units.depth_m) if raw.dtype == np.uint16 else raw
        # Zero, negative and infinite are ways in which cameras say that nothing came back.
        return np.where((depth > 0.0) & (depth < np.inf), depth, np.float32(np.nan))
    if kind == "thermal":
        raw = _checked(kind, raw, (np.uint16, np.float32))
        if raw.dtype == np.float32:
            return raw
        return raw * np.float32(units.thermal_scale) + np.float32(units.thermal_offset)
    if kind == "segmentation":
        _checked(kind, raw, (np.uint8,))
        if raw.max() >= len(LABELS):
            raise ValueError(
                f"segmentation frame has label {raw.max()}; expected 0 to {len(LABELS) - 1}"
            )
        return raw
    raise ValueError(f"kind is '{kind}'; expected {', '.join(KINDS)}")


def resize(kind: str, frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bring a frame in units to (height, width).

    Pixels are averaged over the area they cover; where values are missing, over those that are
    there. Labels are picked, never mixed. A frame that has the size is returned as it is.
    """
    if frame.shape[:2] == (height, width):
        return frame
    if kind == "segmentation":
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
    kind: str, raw: np.ndarray, height: int, width: int, units: RawUnits | None = None
) -> np.ndarray:
    """Turn a raw frame into a conditioned one: `to_units`, then `resize`.

    Raises:
        ValueError: see `to_units`.
    """
    return resize(kind, to_units(kind, raw, units), height, width)


def _checked(kind: str, raw: np.ndarray, types: tuple, channels: int = 0) -> np.ndarray:
    shaped = raw.ndim == 3 and raw.shape[2] == channels if channels else raw.ndim == 2
    if raw.dtype.type not in types or not shaped or raw.size == 0:
        shape = f"(H, W, {channels})" if channels else "(H, W)"
        names = " or ".join(np.dtype(expected).name for expected in types)
        raise ValueError(
            f"{kind} frame is {raw.shape} {raw.dtype}; expected {shape} {names}, at least one pixel"
        )
    # The other byte order would be another dtype to every comparison and to OpenCV.
    return raw if raw.dtype.isnative else raw.astype(raw.dtype.newbyteorder("="))
