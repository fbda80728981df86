"""The action expert: a narrow transformer over the chunk that reads the language model's cache.

Even layers attend to the prefix and, causally, to the actions. Odd layers attend to the prefix
alone, through projections of their own; there the actions' positions begin at 0 again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multismolvla.policy.config import PolicyConfig
from multismolvla.policy.text import DecoderLayer, attend, rotary_tables, rotate


class ActionExpert(nn.Module):
    """Layer i reads the cache of the language model's layer i."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.text, self.config = config.text, config.expert
        width = self.config.hidden_size
        cache_width = self.text.kv_heads * self.text.head_dim
        self.layers = nn.ModuleList(
            DecoderLayer(
                self.text,
                width,
                self.config.intermediate_size,
                width if self.attends_to_actions(i) else cache_width,
            )
            for i in range(self.text.layers)
        )
        self.norm = nn.RMSNorm(width, eps=self.text.rms_norm_eps)

    def attends_to_actions(self, layer: int) -> bool:
        return layer % self.config.self_attention_every == 0

    def adapt(self, cache: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        """Project the cache for the layers that read the prefix alone: once per chunk."""
        adapted = []
        for i, (layer, pair) in enumerate(zip(self.layers, cache, strict=True)):
            if not self.attends_to_actions(i):
                attention = layer.self_attn
                key, value = (part.transpose(1, 2).flatten(2) for part in pair)
                pair = (
                    attention.split(attention.k_proj(key)),
                    attention.split(attention.v_proj(value)),
                )
            adapted.append(pair)
        return adapted

    def forward(
        self, x: Tensor, cache: list[tuple[Tensor, Tensor]], mask: Tensor, start: Tensor
    ) -> Tensor:
        """One pass over the chunk.

        Args:
            x: (B, T, hidden_size) noisy actions with their time.
            cache: keys and values per layer, (B, kv_heads, N, head_dim), from `adapt`.
            mask: (B, N) bool, tokens of the prefix that exist.
            start: (B,) rotary position of the first action.

        Returns:
            (B, T, hidden_size).
        """
        batch, length, _ = x.shape
        steps = torch.arange(length, device=x.device).expand(batch, -1)
        to_prefix = mask[:, None, :].expand(-1, length, -1)
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        to_all = torch.cat((to_prefix, causal.expand(batch, -1, -1)), dim=-1)
        base, head_dim = self.text.rope_base, self.text.head_dim
        after_prefix = rotary_tables(steps + start[:, None], head_dim, base)
        from_zero = rotary_tables(steps, head_dim, base)
        for i, layer in enumerate(self.layers):
            normed = layer.input_layernorm(x)
            key, value = cache[i]
            if self.attends_to_actions(i):
                query, own_key, own_value = layer.self_attn.query_key_value(normed)
                key = torch.cat((key, rotate(own_key, after_prefix)), dim=2)
                value = torch.cat((value, own_value), dim=2)
                attended = attend(rotate(query, after_prefix), key, value, to_all)
            else:
                query = rotate(layer.self_attn.query(normed), from_zero)
                attended = attend(query, key, value, to_prefix)
            x = layer.finish(x, attended)
        return self.norm(x)
