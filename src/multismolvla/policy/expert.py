"""The action expert: a narrow transformer over the chunk that reads the language model's cache.

Even layers attend to the prefix and, causally, to the actions. Odd layers attend to the prefix
alone, through projections of their own; there the actions' positions begin at 0 again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multismolvla.policy.config import PolicyConfig
from multismolvla.policy.text import (
    DecoderLayer,
    Tables,
    attend,
    attention_bias,
    rotary_tables,
    rotate,
)


@dataclass(frozen=True)
class Plan:
    """What all passes over a chunk have in common.

    Attributes:
        to_prefix, to_all: what `attend` adds to scores against the prefix, and against prefix and
            actions.
        from_zero, after_prefix: rotary tables of the actions, by themselves and in the sequence.
    """

    to_prefix: Tensor | None
    to_all: Tensor | None
    from_zero: Tables
    after_prefix: Tables


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

    def plan(self, mask: Tensor, start: Tensor, length: int, dtype: torch.dtype) -> Plan:
        """Prepare the passes over chunks of `length` rows behind one prefix.

        Args:
            mask: (B, N) bool, tokens of the prefix that exist.
            start: (B,) rotary position of the first action.
            dtype: of keys and values, so that no pass has to convert.
        """
        steps = torch.arange(length, device=mask.device).expand(len(mask), -1)
        to_prefix = mask[:, None, :].expand(-1, length, -1)
        causal = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        to_all = torch.cat((to_prefix, causal.expand(len(mask), -1, -1)), dim=-1)
        groups = self.text.heads // self.text.kv_heads

        def bias(mask: Tensor) -> Tensor | None:
            added = attention_bias(mask, groups)
            return None if added is None else added.to(dtype)

        def tables(positions: Tensor) -> Tables:
            cos, sin = rotary_tables(positions, self.text.head_dim, self.text.rope_base)
            return cos.to(dtype), sin.to(dtype)

        return Plan(bias(to_prefix), bias(to_all), tables(steps), tables(steps + start[:, None]))

    def forward(self, x: Tensor, cache: list[tuple[Tensor, Tensor]], plan: Plan) -> Tensor:
        """One pass over the chunk.

        Args:
            x: (B, T, hidden_size) noisy actions with their time.
            cache: keys and values per layer, (B, kv_heads, N, head_dim), from `adapt`.

        Returns:
            (B, T, hidden_size).
        """
        for i, layer in enumerate(self.layers):
            normed = layer.input_layernorm(x)
            key, value = cache[i]
            if self.attends_to_actions(i):
                query, own_key, own_value = layer.self_attn.rotated(normed, plan.after_prefix)
                key = torch.cat((key, own_key), dim=2)
                value = torch.cat((value, own_value), dim=2)
                attended = attend(query, key, value, plan.to_all)
            else:
                query = rotate(layer.self_attn.query(normed), plan.from_zero)
                attended = attend(query, key, value, plan.to_prefix)
            x = layer.finish(x, attended)
        return self.norm(x)
