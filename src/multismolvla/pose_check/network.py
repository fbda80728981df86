"""The trained network with numpy alone, so that a control process needs no torch for it.

Its layers are those of `training.pose_check.network`; a test holds the two to the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from multismolvla.pose_check.picture import SIZE

_STRIDE = 2


class PoseNetwork:
    """Computes how badly a frame and joint positions fit; one caller at a time.

    Args:
        arrays: the weights by their names in `training.pose_check.network`.

    Raises:
        ValueError: a layer is missing.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        try:
            layers = [_layer(arrays, f"picture.{k}") for k in (0, 2, 4)]
            self._seen = _layer(arrays, "picture.7")
            self._pose = [_layer(arrays, f"joints.{k}") for k in (0, 2)]
            self._compare = [_layer(arrays, f"compare.{k}") for k in (0, 2)]
        except KeyError as error:
            raise ValueError(f"the network has no layer {error}") from None
        sizes = [SIZE // _STRIDE**k for k in range(len(layers))]
        self._eyes = [_Convolution(*layer, size) for layer, size in zip(layers, sizes, strict=True)]

    def misfit(self, picture: np.ndarray, joints: np.ndarray) -> float:
        """Return the logit that a frame (C, SIZE, SIZE) does not fit joints (6,) radians."""
        for convolution in self._eyes:
            picture = convolution(picture)
        seen = _linear(self._seen, picture.ravel())
        joints = joints.astype(np.float32)
        hidden = _relu(_linear(self._pose[0], np.concatenate((np.sin(joints), np.cos(joints)))))
        pose = _linear(self._pose[1], hidden)
        met = np.concatenate((_relu(seen), _relu(pose), seen * pose))
        return float(_linear(self._compare[1], _relu(_linear(self._compare[0], met)))[0])


def _layer(arrays: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    return arrays[f"{name}.weight"], arrays[f"{name}.bias"]


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0.0)


def _linear(layer: tuple[np.ndarray, np.ndarray], values: np.ndarray) -> np.ndarray:
    weight, bias = layer
    return weight @ values + bias


class _Convolution:
    """(C, size, size) to (D, size / 2, size / 2), none below 0; half of the kernel is padding.

    What it writes to is made once: to make arrays would cost more than to multiply them. A result
    is overwritten by the next call.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray, size: int) -> None:
        filters, channels, kernel, _ = weight.shape
        half, out = kernel // 2, size // _STRIDE
        padded = np.zeros((channels, size + 2 * half, size + 2 * half), np.float32)
        self._inside = padded[:, half : half + size, half : half + size]
        windows = sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
        self._windows = windows[:, ::_STRIDE, ::_STRIDE].transpose(0, 3, 4, 1, 2)
        # One row for each weight of a filter, one column for each place.
        self._columns = np.empty(self._windows.shape, np.float32)
        self._flat = self._columns.reshape(channels * kernel * kernel, out * out)
        self._weight = np.ascontiguousarray(weight.reshape(filters, -1))
        self._bias = bias[:, None]
        self._sums = np.empty((filters, out * out), np.float32)
        self._result = self._sums.reshape(filters, out, out)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        self._inside[...] = picture
        np.copyto(self._columns, self._windows)
        np.matmul(self._weight, self._flat, out=self._sums)
        self._sums += self._bias
        np.maximum(self._sums, 0.0, out=self._sums)
        return self._result
