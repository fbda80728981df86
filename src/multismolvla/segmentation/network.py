"""A small convolutional network that labels pixels from any of RGB, depth and thermal.

Each input kind has its own stem. What the stems of the kinds present give is averaged, and one
encoder-decoder turns the average into labels. A kind that is absent never enters the arithmetic:
its stem is not evaluated, so nothing in its place, not even NaN, can reach the output.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from multismolvla.modalities.segmentation import LABELS

# The kinds of image that labels can come from, in the order of the presence mask.
INPUT_KINDS: tuple[str, ...] = ("rgb", "depth", "thermal")

# (value - centre) / scale brings each kind to about [-2, 2]. Part of the shipped weights' metadata.
NORMALISATION: dict[str, tuple[float, float]] = {
    "rgb": (127.5, 64.0),
    "depth": (0.45, 0.25),
    "thermal": (25.0, 12.0),
}
# Relief of this many metres against the surroundings counts as 1: a brick is 18 mm high.
RELIEF_SCALE_M = 0.02
RELIEF_LIMIT = 4.0

_CHANNELS = {"rgb": 3, "depth": 4, "thermal": 1}
_FULL, _HALF, _QUARTER, _EIGHTH = 12, 24, 48, 64
# Three halvings, hence this multiple; other sizes are padded.
_STRIDE = 8
# The wider surroundings, in blocks of the stride.
_FAR = 5


class SegmentationNetwork(nn.Module):
    """Labels (B, H, W) frames of any subset of `INPUT_KINDS`."""

    def __init__(self) -> None:
        super().__init__()
        self.stems = nn.ModuleDict({kind: _Stem(_CHANNELS[kind]) for kind in INPUT_KINDS})
        self.at_half = _convolution(_HALF, _HALF)
        self.at_quarter = nn.Sequential(
            _convolution(_HALF, _QUARTER, stride=2), _convolution(_QUARTER, _QUARTER)
        )
        self.at_eighth = nn.Sequential(
            _convolution(_QUARTER, _EIGHTH, stride=2), _convolution(_EIGHTH, _EIGHTH)
        )
        # What the whole image looks like, for example which camera it is from.
        self.overview = nn.Linear(_EIGHTH, _EIGHTH)
        self.context = _convolution(_EIGHTH, _EIGHTH)
        self.up_to_quarter = _Up(_EIGHTH, _QUARTER)
        self.up_to_half = _Up(_QUARTER, _HALF)
        self.up_to_full = _Up(_HALF, _FULL)
        self.head = nn.Conv2d(_FULL, len(LABELS), 1)

    def forward(self, frames: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return logits (B, len(LABELS), H, W).

        Args:
            frames: kind -> (B, C, H, W) float32 in the units of conditioned frames: rgb 0 to 255
                with C = 3, depth in metres with NaN for no return and C = 1, thermal in degrees
                Celsius with C = 1. A kind that no sample has may be left out.
            present: (B, 3) bool, columns in the order of `INPUT_KINDS`. Where it is False the
                frame is ignored, whatever it holds. Each row needs at least one True.
        """
        height, width = next(iter(frames.values())).shape[-2:]
        counts = present.sum(1).to(torch.float32)
        full = half = None
        for column, kind in enumerate(INPUT_KINDS):
            rows = present[:, column]
            if not bool(rows.any()):
                continue
            every = bool(rows.all())
            frame = _pad(frames[kind] if every else frames[kind][rows])
            features = self.stems[kind](_channels(kind, frame))
            if not every:
                features = [_scatter(part, rows) for part in features]
            full = features[0] if full is None else full + features[0]
            half = features[1] if half is None else half + features[1]
        weight = (1.0 / counts)[:, None, None, None]
        logits = self._label(full * weight, half * weight)
        return logits[..., :height, :width]

    def _label(self, full: Tensor, half: Tensor) -> Tensor:
        half = self.at_half(half)
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        eighth = eighth + self.overview(eighth.mean((2, 3)))[:, :, None, None]
        eighth = self.context(eighth)
        quarter = self.up_to_quarter(eighth, quarter)
        half = self.up_to_half(quarter, half)
        return self.head(self.up_to_full(half, full))


def fold(network: SegmentationNetwork) -> None:
    """Make a trained network faster, in place: each convolution takes its batch norm over.

    Only for inference; the logits differ by rounding.
    """
    network.eval()
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Sequential) and isinstance(child[1], nn.BatchNorm2d):
                convolution = fuse_conv_bn_eval(child[0], child[1])
                setattr(parent, name, nn.Sequential(convolution, child[2]))


class _Stem(nn.Module):
    """Features of one kind at full (B, 12, H, W) and at half resolution (B, 24, H/2, W/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.at_full = _convolution(channels, _FULL)
        self.at_half = _convolution(_FULL, _HALF, stride=2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        full = self.at_full(image)
        return full, self.at_half(full)


class _Up(nn.Module):
    """Doubles the resolution and adds the finer features of the same size."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(coarse, fine, 1)
        self.smooth = _convolution(fine, fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        coarse = functional.interpolate(self.narrow(coarse), scale_factor=2.0, mode="bilinear")
        return self.smooth(coarse + fine)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _channels(kind: str, frame: Tensor) -> Tensor:
    """Normalise a frame (B, C, H, W); depth becomes depth, two reliefs and validity."""
    centre, scale = NORMALISATION[kind]
    if kind != "depth":
        # A dead pixel of a thermal camera counts as a pixel of middling temperature.
        return torch.nan_to_num((frame - centre) / scale)
    valid = torch.isfinite(frame)
    known = torch.where(valid, frame, 0.0)
    weight = valid.to(frame.dtype)
    near_sum = functional.avg_pool2d(known, _STRIDE)
    near_count = functional.avg_pool2d(weight, _STRIDE)
    # Objects are low against the slope of the table as a camera sees it: show relief as well,
    # against the surroundings near by for edges and far around for whole objects.
    far_sum, far_count = (
        functional.avg_pool2d(part, _FAR, stride=1, padding=_FAR // 2)
        for part in (near_sum, near_count)
    )
    reliefs = (
        _relief(known, total, count) * weight
        for total, count in ((near_sum, near_count), (far_sum, far_count))
    )
    return torch.cat([(known - centre) / scale * weight, *reliefs, weight], 1)


def _relief(depth: Tensor, around_sum: Tensor, around_count: Tensor) -> Tensor:
    """Return how far each pixel stands out from the mean of what is around it."""
    around = around_sum / around_count.clamp(min=0.5 / _STRIDE**2)
    around = functional.interpolate(around, scale_factor=float(_STRIDE), mode="bilinear")
    return ((around - depth) / RELIEF_SCALE_M).clamp(-RELIEF_LIMIT, RELIEF_LIMIT)


def _pad(frame: Tensor) -> Tensor:
    """Repeat the last row and column until both sizes are multiples of the stride."""
    height, width = frame.shape[-2:]
    bottom, right = -height % _STRIDE, -width % _STRIDE
    if not bottom and not right:
        return frame
    return functional.pad(frame, (0, right, 0, bottom), mode="replicate")


def _scatter(part: Tensor, rows: Tensor) -> Tensor:
    """Spread (b, ...) over the True rows of a batch (B, ...); the others are zero."""
    whole = part.new_zeros(len(rows), *part.shape[1:])
    whole[rows] = part
    return whole
