"""From a frame of one stream to tokens on the grid that all streams share."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from multismolvla.modalities.registry import find_modality
from multismolvla.policy.config import FourMConfig
from multismolvla.policy.fourm import patches


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
        channels = find_modality(kind).prepared_channels
        self.proj = nn.Linear(channels * config.patch_size**2, config.dim, bias=False)
        nn.init.xavier_uniform_(self.proj.weight)

    def forward(self, frames: Tensor) -> Tensor:
        return self.proj(patches(frames, self.patch_size))
