"""Depth images as points in space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def points(depth_m: np.ndarray, k: Sequence[float], stride: int = 1) -> np.ndarray:
    """Return the points (N, 3) float32 in the optical frame, metres, of the pixels with a return.

    Args:
        depth_m: (H, W) distance along the optical axis; NaN, infinite or not positive = no return.
        k: (9,) camera matrix by rows, for this image's size; pixel centres lie at integers.
        stride: every how many-th pixel of every how many-th row is taken.

    Raises:
        ValueError: the image is not (H, W), or the camera matrix is not one.
    """
    if depth_m.ndim != 2:
        raise ValueError(f"depth has shape {depth_m.shape}; expected (H, W)")
    fx, fy, cx, cy = (float(k[i]) for i in (0, 4, 2, 5))
    if not (all(map(math.isfinite, (fx, fy, cx, cy))) and fx > 0 and fy > 0):
        raise ValueError(f"camera_info has fx {fx}, fy {fy}, cx {cx}, cy {cy}; is it calibrated?")
    z = depth_m[::stride, ::stride].astype(np.float32)
    v, u = np.indices(z.shape, np.float32) * stride
    seen = np.isfinite(z) & (z > 0)
    z = z[seen]
    return np.column_stack([(u[seen] - cx) / fx * z, (v[seen] - cy) / fy * z, z]).astype(np.float32)
