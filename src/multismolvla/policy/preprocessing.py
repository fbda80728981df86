"""From conditioned frames to what the model's encoder reads: one code path for every use."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from multismolvla.policy.config import PolicyConfig
from multismolvla.policy.modality_embedding import CHANNELS
from multismolvla.streams import LABELS, Stream

# Mean and standard deviation of ImageNet's RGB, which 4M-21 was trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# A table top is half a metre from its camera; a wrist sees from 0.05 m, a scene ends at some 2 m.
DEPTH_CENTRE_M, DEPTH_SCALE_M = 0.5, 0.25
# Things on a table stand out by some centimetres from a slope of half a metre: relief is what is
# left of the depth without the mean about each pixel, over this share of the picture.
RELIEF_SCALE_M, RELIEF_WIDTH, RELIEF_MOST = 0.02, 0.26, 3.0
# Room temperature; hands, motors and warm drinks lie within two scales of it.
THERMAL_CENTRE_C, THERMAL_SCALE_C = 25.0, 20.0
# Widths and heights that were rounded to whole pixels differ by this much from a pure scaling.
MAX_DISTORTION = 0.02

_DTYPES = {"rgb": np.uint8, "depth": np.float32, "thermal": np.float32, "segmentation": np.uint8}


def prepare_frame(stream: Stream, frame: np.ndarray, config: PolicyConfig) -> Tensor:
    """Turn conditioned frames of one stream into the encoder's input.

    | kind | frame | result, float32 |
    |---|---|---|
    | rgb, `siglip` | (..., H, W, 3) uint8 | (..., 3, h, w) in [-1, 1], padded left and top |
    | rgb, `fourm` | (..., H, W, 3) uint8 | (..., 3, h, w), ImageNet mean 0 and deviation 1 |
    | depth | (..., H, W) float32 m, NaN = no return | (..., 3, h, w): centred, validity, relief |
    | thermal | (..., H, W) float32 degrees Celsius | (..., 1, h, w): centred temperature |
    | segmentation | (..., H, W) uint8 labels | (..., 9, h, w): one channel per label |

    h = w is the encoder's image size. Colours and temperatures are averaged on the way there, depth
    and labels are picked: a mean over an edge would lie on neither side of it. A hole in the depth
    is 0 in all channels. A temperature that is not finite becomes room temperature: a dead pixel
    must not stop the arm, and of a dead camera the health monitor knows. An unknown label is
    background.

    Raises:
        ValueError: the frame's type or shape is wrong; names stream, what came and what should.
    """
    _check(stream, frame, config)
    # A copy at least: frames may be read-only, and what was prepared must not change with them.
    pixels = torch.from_numpy(np.array(frame, order="C"))
    if config.encoder == "siglip":
        return _padded(_channels_first(pixels), config.siglip.image_size) * 2.0 - 1.0
    return _PREPARE[stream.kind](pixels, config.fourm.image_size)


def _rgb(pixels: Tensor, size: int) -> Tensor:
    mean = torch.tensor(IMAGENET_MEAN)[:, None, None]
    std = torch.tensor(IMAGENET_STD)[:, None, None]
    return (_averaged(_channels_first(pixels), size) - mean) / std


def _depth(depth_m: Tensor, size: int) -> Tensor:
    depth_m = _picked(depth_m.unsqueeze(-3), size)
    valid = torch.isfinite(depth_m) & (depth_m > 0.0)
    centred = (depth_m - DEPTH_CENTRE_M) / DEPTH_SCALE_M
    centred = torch.where(valid, centred, 0.0)
    return torch.cat([centred, valid.float(), _relief(centred, valid)], dim=-3)


def _relief(centred: Tensor, valid: Tensor) -> Tensor:
    """(..., 1, h, w): how much nearer than its surroundings each pixel is, in `RELIEF_SCALE_M`."""
    shape = centred.shape
    width = round(RELIEF_WIDTH * shape[-1]) // 2 * 2 + 1
    total = torch.stack((centred, valid.float())).reshape(-1, 1, *shape[-2:])
    for kernel in ((width, 1), (1, width)):
        padding = (kernel[0] // 2, kernel[1] // 2)
        total = functional.avg_pool2d(total, kernel, 1, padding)
    mean, share = total.reshape(2, *shape)
    nearer = (mean / share.clamp_min(1e-6) - centred) * (DEPTH_SCALE_M / RELIEF_SCALE_M)
    return torch.where(valid, nearer.clamp(-RELIEF_MOST, RELIEF_MOST), 0.0)


def _thermal(celsius: Tensor, size: int) -> Tensor:
    centred = (celsius.unsqueeze(-3) - THERMAL_CENTRE_C) / THERMAL_SCALE_C
    return _averaged(torch.where(torch.isfinite(centred), centred, 0.0), size)


def _segmentation(labels: Tensor, size: int) -> Tensor:
    labels = _picked(labels.unsqueeze(-3).float(), size).long().squeeze(-3)
    known = torch.where(labels < len(LABELS), labels, LABELS.index("background"))
    return functional.one_hot(known, CHANNELS["segmentation"]).movedim(-1, -3).float()


_PREPARE = {"rgb": _rgb, "depth": _depth, "thermal": _thermal, "segmentation": _segmentation}


def _channels_first(rgb: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) in [0, 1]."""
    return rgb.movedim(-1, -3).float() / 255.0


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
    dtype = _DTYPES[stream.kind]
    trailing = (3,) if stream.kind == "rgb" else ()
    expected = f"({', '.join(('H', 'W', *map(str, trailing)))}) {np.dtype(dtype)}"
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
