"""SmolVLM's image encoder: the SigLIP tower, and the pixel shuffle from patches to tokens.

Parameters carry the names of `transformers`' SmolVLM. Positions of the patches are the identity;
releases 4.55 to 4.57 of `transformers` compute others in float32 (its issue 41190).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multismolvla.policy.config import PolicyConfig, SiglipConfig


class SiglipAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(width, width) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class SiglipMLP(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class SiglipLayer(nn.Module):
    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.layer_norm1 = nn.LayerNorm(width, eps=eps)
        self.self_attn = SiglipAttention(width, config.heads)
        self.layer_norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = SiglipMLP(width, config.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class SiglipTower(nn.Module):
    """Images (B, 3, image_size, image_size) in [-1, 1] -> patches (B, grid^2, hidden_size)."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(
            3, config.hidden_size, config.patch_size, stride=config.patch_size
        )
        patches = (config.image_size // config.patch_size) ** 2
        self.position_embedding = nn.Embedding(patches, config.hidden_size)
        self.layers = nn.ModuleList(SiglipLayer(config) for _ in range(config.layers))
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, images: Tensor) -> Tensor:
        # Laid out token by token: every sum below keeps the layout, and every norm wants this one.
        x = self.patch_embedding(images).flatten(2).transpose(1, 2).contiguous()
        x = x + self.position_embedding.weight
        for layer in self.layers:
            x = layer(x)
        return self.post_layernorm(x)


def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """Fold squares of factor x factor patches: (B, g^2, C) -> (B, (g / factor)^2, C factor^2)."""
    batch, patches, channels = x.shape
    side = round(patches**0.5) // factor
    x = x.reshape(batch, side, factor, side, factor * channels).transpose(2, 3)
    return x.reshape(batch, side * side, factor * factor * channels)


class SiglipViews(nn.Module):
    """One view per RGB stream. A stream that is masked keeps its slot, empty."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        assert config.siglip is not None
        self.streams = config.views
        self.shuffle = config.siglip.shuffle
        self.width = config.text.hidden_size
        self.tokens = config.tokens_per_view
        self.tower = SiglipTower(config.siglip)
        folded = config.siglip.hidden_size * self.shuffle**2
        self.proj = nn.Linear(folded, self.width, bias=False)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> language tokens (B, tokens_per_view, hidden_size)."""
        return self.proj(pixel_shuffle(self.tower(images), self.shuffle)) * self.width**0.5

    def forward(self, frames: Mapping[str, Tensor], mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, V, tokens_per_view, hidden_size) and the mask (B, V).

        Only the images in use go through the tower, those of all views as one batch.
        """
        used = [(i, name) for i, name in enumerate(self.streams) if mask[:, i].any()]
        tokens = mask.new_zeros(
            (*mask.shape, self.tokens, self.width), dtype=self.tower.position_embedding.weight.dtype
        )
        if used:
            images = torch.cat([frames[name][mask[:, i]] for i, name in used])
            encoded = self.encode(images).split([int(mask[:, i].sum()) for i, _ in used])
            for (i, _), part in zip(used, encoded, strict=True):
                tokens[mask[:, i], i] = part.to(tokens.dtype)
        return tokens, mask
