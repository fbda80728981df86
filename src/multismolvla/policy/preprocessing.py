"""From conditioned frames to what the model's encoder reads: one code path for every use."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from multismolvla.modalities.modality import Modality, Relief
from multismolvla.policy.config import PolicyConfig
from multismolvla.streams import Stream

# Widths and heights that were rounded to whole pixels differ by this much from a pure scaling.
MAX_DISTORTION = 0.02


def prepare_frame(stream: Stream, frame: np.ndarray, config: PolicyConfig) -> Tensor:
    """Turn conditioned frames of one stream into the encoder's input.

    With `siglip` a frame of colours (..., H, W, 3) becomes (..., 3, h, w) in [-1, 1], padded left
    and top. With `fourm` a frame (..., H, W[, 3]) of any kind becomes (..., C, h, w) as the kind's
    `Preparation` has it: centred and scaled values, then validity and relief where the kind has
    them; of labels one channel each. h = w is the encoder's image size, the result float32.

    What blends is averaged on the way there, the rest is picked: a mean over an edge would lie on
    neither side of it. A value that is missing becomes the centre, with 0 for its validity: a dead
    pixel must not stop the arm, and of a dead camera the health monitor knows. An unknown label is
    the first, the background.

    Raises:
        ValueError: the frame's type or shape is wrong; names stream, what came and what should.
    """
    _check(stream, frame, config)
    # A copy at least: frames may be read-only, and what was prepared must not change with them.
    pixels = torch.from_numpy(np.array(frame, order="C"))
    if config.encoder == "siglip":
        return _padded(_channels_first(pixels, 255.0, 3), config.siglip.image_size) * 2.0 - 1.0
    prepare = _labels if stream.modality.labels else _values
    return prepare(stream.modality, pixels, config.fourm.image_size)


def _values(modality: Modality, pixels: Tensor, size: int) -> Tensor:
    given = modality.prepare
    centre = torch.tensor(given.centre)[:, None, None]
    scale = torch.tensor(given.scale)[:, None, None]
    if not modality.is_float:
        image = _channels_first(pixels, given.full, modality.channels)
        image = _averaged(image, size) if modality.blends else _picked(image, size)
        return (image - centre) / scale
    image = pixels.unsqueeze(-3)
    if not modality.blends:
        image = _picked(image, size)
    centred = (image - centre) / scale
    valid = torch.isfinite(centred)
    if modality.no_return:
        valid &= image > 0.0
    centred = torch.where(valid, centred, 0.0)
    if modality.blends:
        centred = _averaged(centred, size)
        valid = torch.ones_like(centred, dtype=torch.bool)
    channels = [centred]
    if given.validity:
        channels.append(valid.float())
    if given.relief is not None:
        channels.append(_relief(given.scale[0], given.relief, centred, valid))
    return torch.cat(channels, dim=-3)


def _relief(scale: float, relief: Relief, centred: Tensor, valid: Tensor) -> Tensor:
    """(..., 1, h, w): how much nearer than the mean about it each pixel is."""
    shape = centred.shape
    width = round(relief.width * shape[-1]) // 2 * 2 + 1
    total = torch.stack((centred, valid.float())).reshape(-1, 1, *shape[-2:])
    for kernel in ((width, 1), (1, width)):
        padding = (kernel[0] // 2, kernel[1] // 2)
        total = functional.avg_pool2d(total, kernel, 1, padding)
    mean, share = total.reshape(2, *shape)
    nearer = (mean / share.clamp_min(1e-6) - centred) * (scale / relief.scale)
    return torch.where(valid, nearer.clamp(-relief.most, relief.most), 0.0)


def _labels(modality: Modality, labels: Tensor, size: int) -> Tensor:
    labels = _picked(labels.unsqueeze(-3).float(), size).long().squeeze(-3)
    count = len(modality.labels)
    known = torch.where(labels < count, labels, 0)
    return functional.one_hot(known, count).movedim(-1, -3).float()


def _channels_first(pixels: Tensor, full: float, channels: int) -> Tensor:
    """(..., H, W[, 3]) uint8 -> (..., C, H, W), `full` becoming 1."""
    moved = pixels.movedim(-1, -3) if channels == 3 else pixels.unsqueeze(-3)
    return moved.float() / full


def _resized(image: Tensor, height: int, width: int, **how) -> Tensor:
    """(..., C, H, W) -> (..., C, height, width)."""
    if image.shape[-2:] == (height, width):
        return image
    flat = image.reshape(-1, *image.shape[-3:])
    flat = functional.interpolate(flat, size=(height, width), **how)
    return flat.reshape(*image.shape[:-2], height, width)


def _averaged(image: Tensor, size: int) -> Tensor:
    return _resized(image, size, size, mode="bilinear", align_corners=False, antialias=True)


def _picked(image: Tensor, size: int) -> Tensor:
    return _resized(image, size, size, mode="nearest-exact")


def _padded(image: Tensor, size: int) -> Tensor:
    """SmolVLA's `resize_with_pad`: the longer side fills the square, black left of and above it.

    Plain bilinear, without the smoothing that would be right when shrinking: the weights of
    SmolVLA have seen nothing else.
    """
    height, width = image.shape[-2:]
    ratio = max(height / size, width / size)
    height, width = max(1, int(height / ratio)), max(1, int(width / ratio))
    image = _resized(image, height, width, mode="bilinear", align_corners=False)
    return functional.pad(image, (size - width, 0, size - height, 0))


def _check(stream: Stream, frame: np.ndarray, config: PolicyConfig) -> None:
    dtype, trailing = stream.modality.dtype, stream.modality.trailing
    expected = f"({', '.join(('H', 'W', *map(str, trailing)))}) {dtype}"
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"{stream.name}: got {type(frame).__name__}; expected {expected}")
    got = f"{stream.name}: got {frame.shape} {frame.dtype}; expected"
    image = frame.ndim - len(trailing)
    if frame.dtype != dtype or image < 2 or frame.shape[image:] != trailing or 0 in frame.shape:
        raise ValueError(f"{got} {expected}")
    if config.encoder == "fourm":
        # Every stream is stretched to the same grid, so another shape would be another picture.
        height, width = frame.shape[image - 2 : image]
        distortion = (height / stream.height) / (width / stream.width)
        if abs(distortion - 1.0) > MAX_DISTORTION:
            raise ValueError(f"{got} the shape of {stream.height} x {stream.width}, at any size")
