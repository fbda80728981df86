"""SmolLM2, the language model, as SmolVLA uses it: one pass over the prefix that leaves a KV cache.

A Llama: RMSNorm before, grouped-query attention with rotary positions, SwiGLU. Parameters carry
the names of `transformers`' Llama, so that checkpoints and LoRA find them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multismolvla.policy.config import TextConfig

# Of `rotary_tables`.
Tables = tuple[Tensor, Tensor]


def rotary_tables(positions: Tensor, head_dim: int, base: float) -> Tables:
    """What `rotate` needs for the rotary positions (B, N), arXiv 2104.09864.

    Returns:
        Cosines and sines (B, 1, N, head_dim) of the angles of the pairs (i, i + head_dim / 2), the
        sines of the first of each pair negative.
    """
    exponents = torch.arange(head_dim // 2, device=positions.device) * (2.0 / head_dim)
    angles = positions[:, None, :, None].float() / base**exponents
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, tables: Tables) -> Tensor:
    """Turn the pairs (i, i + head_dim / 2) of x (B, heads, N, head_dim) by their angles; the type
    stays that of x."""
    cos, sin = (table.to(x.dtype) for table in tables)
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat((second, first), dim=-1), sin)


def attention_bias(mask: Tensor, groups: int) -> Tensor | None:
    """Turn a mask (B, N, M) bool, True = may be attended to, into what `attend` adds to scores.

    Args:
        groups: queries that share a key.

    Returns:
        (B, 1, groups * N, M), 0 or minus infinity; None where everything may be attended to.
    """
    if mask.all():
        return None
    bias = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, -torch.inf)
    return bias[:, None].repeat(1, 1, groups, 1)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Grouped-query attention; returns (B, N, heads * head_dim).

    The queries that share a key are laid one after another: no key or value is copied.

    Args:
        query: (B, heads, N, head_dim).
        key, value: (B, kv_heads, M, head_dim).
        bias: from `attention_bias`; every query needs a key.
    """
    batch, heads, length, head_dim = query.shape
    groups = heads // key.shape[1]
    folded = query.reshape(batch, key.shape[1], groups * length, head_dim)
    bias = None if bias is None else bias.to(query.dtype)
    folded = F.scaled_dot_product_attention(folded, key, value, attn_mask=bias)
    return folded.reshape(batch, heads, length, head_dim).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """The four projections; the mask is decided outside.

    Args:
        width: channels of the query tokens, and of the result.
        kv_width: channels of the key and value tokens.
    """

    def __init__(self, width: int, kv_width: int, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.q_proj = nn.Linear(width, heads * head_dim, bias=False)
        self.k_proj = nn.Linear(kv_width, kv_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(kv_width, kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(heads * head_dim, width, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """(B, N, heads * head_dim) -> (B, heads, N, head_dim)."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def query(self, x: Tensor) -> Tensor:
        return self.split(self.q_proj(x))

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.k_proj(x)), self.split(self.v_proj(x))

    def rotated(self, x: Tensor, tables: Tables) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of tokens that ask one another, the first two rotated."""
        key, value = self.key_value(x)
        return rotate(self.query(x), tables), rotate(key, tables), value


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """One layer of the language model or of the action expert."""

    def __init__(self, text: TextConfig, width: int, hidden: int, kv_width: int) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(width, eps=text.rms_norm_eps)
        self.self_attn = Attention(width, kv_width, text.heads, text.kv_heads, text.head_dim)
        self.post_attention_layernorm = nn.RMSNorm(width, eps=text.rms_norm_eps)
        self.mlp = SwiGLU(width, hidden)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what attention found (B, N, heads * head_dim), then the feed-forward part."""
        x = x + self.self_attn.o_proj(attended)
        return x + self.mlp(self.post_attention_layernorm(x))


class TextModel(nn.Module):
    """Embeddings and layers. The final norm is kept for the checkpoint's sake; actions skip it."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        # Embeddings are multiplied by sqrt(hidden_size) on use.
        nn.init.normal_(self.embed_tokens.weight, std=config.hidden_size**-0.5)
        self.layers = nn.ModuleList(
            DecoderLayer(config, config.hidden_size, config.intermediate_size, config.hidden_size)
            for _ in range(config.layers)
        )
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids (B, L) -> (B, L, hidden_size)."""
        return self.embed_tokens(tokens) * self.config.hidden_size**0.5

    def prefill(self, x: Tensor, mask: Tensor, positions: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Run the layers over embeddings x (B, N, hidden_size).

        Args:
            mask: (B, N, N) bool, row = query.
            positions: (B, N) rotary positions.

        Returns:
            Keys (rotated) and values of every layer, each (B, kv_heads, N, head_dim).
        """
        tables = rotary_tables(positions, self.config.head_dim, self.config.rope_base)
        bias = attention_bias(mask, self.config.heads // self.config.kv_heads)
        cache = []
        *inner, last = self.layers
        for layer in inner:
            query, key, value = layer.self_attn.rotated(layer.input_layernorm(x), tables)
            cache.append((key, value))
            x = layer.finish(x, attend(query, key, value, bias))
        # The output of the last layer is not used.
        key, value = last.self_attn.key_value(last.input_layernorm(x))
        cache.append((rotate(key, tables), value))
        return cache
