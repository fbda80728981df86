"""A conditioned frame as the network of the pose check takes it."""

from __future__ import annotations

import cv2
import numpy as np

from multismolvla.streams import LABELS

# Height and width: enough to detect a gripper that is two centimetres off.
SIZE = 48
# Of the labels those that never depend on the task: objects may lie anywhere.
_SHOWN_LABELS = tuple(LABELS.index(name) for name in ("arm", "gripper", "table", "background"))
CHANNELS = {"rgb": 3, "depth": 2, "thermal": 1, "segmentation": len(_SHOWN_LABELS)}
# Around the temperature of a table in a room; a person's hand is two units above it.
_ROOM_C, _THERMAL_SCALE_C = 25.0, 10.0


def to_picture(kind: str, frame: np.ndarray) -> np.ndarray:
    """Return a conditioned frame of any size as (CHANNELS[kind], SIZE, SIZE) float32.

    Args:
        frame: as in `interfaces.Observation.frames`.
    """
    if kind == "rgb":
        return _smaller(frame).transpose(2, 0, 1) / np.float32(128.0) - 1.0
    if kind == "depth":
        seen = np.isfinite(frame)
        # Nearest: the mean depth of gripper and table is that of neither.
        metres = cv2.resize(
            np.where(seen, frame, np.float32(0.0)), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST
        )
        return np.stack((np.clip(2.0 * metres - 1.0, -1.0, 2.0), metres == 0.0)).astype(np.float32)
    if kind == "thermal":
        celsius = np.nan_to_num(frame, nan=_ROOM_C)
        return ((_smaller(celsius) - _ROOM_C) / _THERMAL_SCALE_C).clip(-3.0, 3.0)[None]
    shown = np.stack([frame == label for label in _SHOWN_LABELS], axis=-1)
    return 2.0 * _smaller(shown.astype(np.float32)).transpose(2, 0, 1) - 1.0


def _smaller(frame: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE[, C]) float32, each pixel the mean of those that it covers."""
    sized = cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return sized.astype(np.float32, copy=False)
