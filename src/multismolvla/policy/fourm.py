"""4M-21's encoder (arXiv 2406.09406): one transformer over the tokens of any set of modalities.

Parameters carry the names of the released weights (`EPFL-VILAB/4M-21_B`, `_L`, `_XL`), but for the
LayerNorm biases, which are zero there and absent here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multismolvla.policy.config import ConfigError, FourMConfig


@dataclass(frozen=True)
class Modality:
    """What one modality gives the encoder.

    Attributes:
        tokens: how many tokens.
        vocabulary: number of token values, or None where patches of RGB pixels are the input.
    """

    tokens: int
    vocabulary: int | None = None


MODALITIES = {
    "rgb@224": Modality(196),
    "tok_depth@224": Modality(196, 8192),
    "tok_semseg@224": Modality(196, 4096),
    "tok_imagebind@224": Modality(256, 8192),
    "tok_imagebind_global": Modality(16, 8192),
}


class Attention(nn.Module):
    """Multi-head self-attention without biases."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)
        # Query, key and value are three matrices that share a product.
        for weight in (*self.qkv.weight.data.chunk(3), self.proj.weight):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, N, dim); mask (B, 1, 1, N) bool, True = may be attended to."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.proj(x.transpose(1, 2).flatten(2))


class GatedMLP(nn.Module):
    """SwiGLU: fc2(silu(fc1(x)) * fc3(x)); at two thirds of the width it costs what an MLP does."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        hidden = int(2 * ratio * dim / 3)
        self.fc1 = nn.Linear(dim, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, dim, bias=False)
        self.fc3 = nn.Linear(dim, hidden, bias=False)
        for layer in (self.fc1, self.fc2, self.fc3):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.silu(self.fc1(x)) * self.fc3(x))


class Block(nn.Module):
    """Attention, then MLP, each added to what its norm read."""

    def __init__(self, config: FourMConfig) -> None:
        super().__init__()
        dim, eps = config.dim, config.layer_norm_eps
        self.norm1 = nn.LayerNorm(dim, eps, bias=False)
        self.attn = Attention(dim, config.heads)
        self.norm2 = nn.LayerNorm(dim, eps, bias=False)
        self.mlp = GatedMLP(dim, config.mlp_ratio)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attn(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


class FourMBlocks(nn.Module):
    """The transformer: embedded tokens (B, N, dim) -> encoded tokens (B, N, dim)."""

    def __init__(self, config: FourMConfig) -> None:
        super().__init__()
        if config.dim % config.heads or config.dim % 4:
            raise ConfigError(
                f"fourm.dim is {config.dim}; expected a multiple of 4 and of {config.heads} heads"
            )
        self.encoder = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.encoder_norm = nn.LayerNorm(config.dim, config.layer_norm_eps, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode; nothing attends to the tokens that mask (B, N) bool marks False."""
        if mask is not None:
            # A sample without any token attends to all: its output is unused, but must be finite.
            mask = (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]
        for block in self.encoder:
            x = block(x, mask)
        return self.encoder_norm(x)


def patches(images: Tensor, size: int) -> Tensor:
    """Cut (B, C, H, W) into patches (B, N, size * size * C), row by row; channels vary fastest."""
    squares = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))
    return squares.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def grid_positions(side: int, dim: int) -> Tensor:
    """Sine-cosine embedding (1, side^2, dim) of a grid: half the channels for the row, half for
    the column (arXiv 2104.02057, whose order 4M-21 keeps)."""
    frequencies = 10_000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies
    axis = torch.cat((angles.sin(), angles.cos()), dim=1)
    rows, columns = axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)
    return torch.cat((rows, columns), dim=-1).flatten(0, 1)[None].float()


class ModalityInput(nn.Module):
    """Pixels or token values of one modality -> embedded tokens (B, N, dim).

    `pos_emb` comes with the released weights, sine-cosine for images and learned for global tokens,
    and is kept as it is.
    """

    def __init__(self, config: FourMConfig, modality: Modality) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.tokens = modality.tokens
        self.mod_emb = nn.Parameter(torch.randn(1, 1, config.dim) * 0.02)
        side = math.isqrt(modality.tokens)
        self.register_buffer("pos_emb", grid_positions(side, config.dim))
        if modality.vocabulary is None:
            self.proj = nn.Linear(3 * config.patch_size**2, config.dim, bias=False)
        else:
            self.token_emb = nn.Embedding(modality.vocabulary, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 3, H, W) RGB, ImageNet mean 0 and deviation 1, or (B, N) int64 token values."""
        embed = self.token_emb(x) if x.ndim == 2 else self.proj(patches(x, self.patch_size))
        if embed.shape[1] != self.tokens:
            raise ValueError(
                f"input of shape {tuple(x.shape)} gives {embed.shape[1]} tokens; "
                f"expected {self.tokens}"
            )
        return embed + self.pos_emb + self.mod_emb


class FourMEncoder(FourMBlocks):
    """The released encoder: pixels and token values in, encoded tokens out."""

    def __init__(
        self, config: FourMConfig, modalities: Mapping[str, Modality] = MODALITIES
    ) -> None:
        super().__init__(config)
        self.encoder_embeddings = nn.ModuleDict(
            {name: ModalityInput(config, modality) for name, modality in modalities.items()}
        )

    def encode(self, inputs: Mapping[str, Tensor], present: Tensor | None = None) -> Tensor:
        """Encode the modalities given; any that is left out is missing for the whole batch.

        Args:
            inputs: modality -> what `ModalityInput` takes.
            present: (B, len(inputs)) bool in the order of `inputs`; None = all are there.

        Returns:
            (B, N, dim), the tokens of the modalities one after another in the order of `inputs`.
        """
        embedded = [self.encoder_embeddings[name](x) for name, x in inputs.items()]
        mask = None
        if present is not None:
            counts = [tokens.shape[1] for tokens in embedded]
            mask = present.repeat_interleave(torch.tensor(counts, device=present.device), dim=1)
        return self(torch.cat(embedded, dim=1), mask)
