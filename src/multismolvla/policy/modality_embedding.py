"""From a frame of one stream to tokens on the grid that all streams share."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from multismolvla.policy.config import FourMConfig
from multismolvla.policy.fourm import patches
from multismolvla.streams import LABELS

# Channels of a prepared frame. Depth: scaled metres with 0 where there is no return, validity (1 or
# 0), which tells a hole from a surface, and relief. Segmentation: one-hot labels.
CHANNELS = {"rgb": 3, "depth": 3, "thermal": 1, "segmentation": len(LABELS)}
# Channels after the first convolution of a stem; each further one has twice as many.
STEM_WIDTH = 24


class ModalityEmbedding(Protocol):
    """Prepared frames (B, C, image_size, image_size) -> tokens (B, grid^2, dim), row by row.

    Position and modality are added outside. This is also the place of 4M-21's quantising
    tokenizers, which name each patch by its nearest code and look up that code's embedding.
    """

    def __call__(self, frames: Tensor) -> Tensor: ...


class ContinuousPatches(nn.Module):
    """One learned linear map per kind of stream, on patches flattened as 4M-21 flattens RGB."""

    def __init__(self, config: FourMConfig, kind: str) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.proj = nn.Linear(CHANNELS[kind] * config.patch_size**2, config.dim, bias=False)
        nn.init.xavier_uniform_(self.proj.weight)

    def forward(self, frames: Tensor) -> Tensor:
        return self.proj(patches(frames, self.patch_size))


class ConvolutionalPatches(nn.Module):
    """A few convolutions per kind of stream instead of one linear map.

    They see edges and across the borders of patches, which a small transformer would have to learn
    from many more pictures (arXiv 2106.14881). The strides multiply to the size of a patch.
    """

    def __init__(self, config: FourMConfig, kind: str) -> None:
        super().__init__()
        channels, layers = CHANNELS[kind], []
        widths = [STEM_WIDTH * 2**i for i in range(8)]
        for stride, width in zip(_factors(config.patch_size), widths, strict=False):
            layers += [nn.Conv2d(channels, width, 3, stride, padding=1), nn.GELU()]
            channels = width
        self.stem = nn.Sequential(*layers)
        self.proj = nn.Conv2d(channels, config.dim, 1)
        # Tokens must start as large as the positions that are added to them, or nothing is seen.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, frames: Tensor) -> Tensor:
        return self.proj(self.stem(frames)).flatten(2).transpose(1, 2)


def _factors(size: int) -> list[int]:
    """Prime factors, smallest first."""
    factors, divisor = [], 2
    while size > 1:
        while size % divisor == 0:
            factors.append(divisor)
            size //= divisor
        divisor += 1
    return factors


EMBEDDINGS = {"linear": ContinuousPatches, "conv": ConvolutionalPatches}
