"""Frames of every kind as pictures for people."""

from __future__ import annotations

import cv2
import numpy as np

from multismolvla.streams import LABELS

# Fixed ranges, so that one colour means one value through a whole film.
DEPTH_RANGE_M = (0.05, 1.0)
THERMAL_RANGE_C = (5.0, 60.0)

# One colour a label, BGR; the objects in their own colours.
LABEL_COLOURS = np.array(
    [
        (40, 40, 40),
        (150, 180, 200),
        (200, 200, 200),
        (230, 140, 240),
        (120, 80, 60),
        (240, 240, 240),
        (40, 40, 220),
        (230, 120, 30),
        (60, 180, 60),
    ],
    np.uint8,
)
assert len(LABEL_COLOURS) == len(LABELS)


def colorize(kind: str, frame: np.ndarray) -> np.ndarray:
    """Return a BGR picture (H, W, 3) uint8 of a conditioned frame.

    Depth without a return is black. Raises ValueError for an unknown kind.
    """
    if kind == "rgb":
        return cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    if kind == "segmentation":
        return LABEL_COLOURS[np.minimum(frame, len(LABELS) - 1)]
    if kind == "depth":
        near, far = DEPTH_RANGE_M
        picture = _map(1.0 - (frame - near) / (far - near), cv2.COLORMAP_VIRIDIS)
        picture[~np.isfinite(frame)] = 0
        return picture
    if kind == "thermal":
        cold, hot = THERMAL_RANGE_C
        return _map((frame - cold) / (hot - cold), cv2.COLORMAP_INFERNO)
    raise ValueError(f"unknown kind of stream '{kind}'")


def _map(fraction: np.ndarray, colormap: int) -> np.ndarray:
    levels = np.nan_to_num(fraction, nan=0.0).clip(0.0, 1.0) * 255.0
    return cv2.applyColorMap(levels.astype(np.uint8), colormap)
