"""The trained network with numpy alone, so that a control process needs no torch for it.

Its layers are those of `training.pose_network`; a test holds the two to the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_STRIDE = 2


class PoseNetwork:
    """Tells how little a picture and joint positions fit.

    Args:
        arrays: the weights by their names in `training.pose_network`.

    Raises:
        ValueError: a layer is missing.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        try:
            self._eyes = [_layer(arrays, f"picture.{k}") for k in (0, 2, 4)]
            self._seen = _layer(arrays, "picture.7")
            self._told = [_layer(arrays, f"joints.{k}") for k in (0, 2)]
            self._compare = [_layer(arrays, f"compare.{k}") for k in (0, 2)]
        except KeyError as error:
            raise ValueError(f"the network has no layer {error}") from None

    def misfit(self, picture: np.ndarray, joints: np.ndarray) -> float:
        """Return the logit that a picture (C, SIZE, SIZE) does not fit joints (6,) radians."""
        for weight, bias in self._eyes:
            picture = _relu(_convolved(picture, weight, bias))
        seen = _linear(self._seen, picture.ravel())
        joints = joints.astype(np.float32)
        hidden = _relu(_linear(self._told[0], np.concatenate((np.sin(joints), np.cos(joints)))))
        told = _linear(self._told[1], hidden)
        met = np.concatenate((_relu(seen), _relu(told), seen * told))
        return float(_linear(self._compare[1], _relu(_linear(self._compare[0], met)))[0])


def _layer(arrays: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    return arrays[f"{name}.weight"], arrays[f"{name}.bias"]


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0.0)


def _linear(layer: tuple[np.ndarray, np.ndarray], values: np.ndarray) -> np.ndarray:
    weight, bias = layer
    return weight @ values + bias


def _convolved(picture: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(C, H, W) to (D, H / 2, W / 2), as a convolution with half of the kernel as padding."""
    filters, channels, size, _ = weight.shape
    padded = np.pad(picture, ((0, 0), (size // 2, size // 2), (size // 2, size // 2)))
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::_STRIDE, ::_STRIDE]
    height, width = windows.shape[1:3]
    # One row for each weight of a filter, one column for each place.
    columns = windows.transpose(0, 3, 4, 1, 2).reshape(channels * size * size, height * width)
    sums = weight.reshape(filters, -1) @ columns + bias[:, None]
    return sums.reshape(filters, height, width)
