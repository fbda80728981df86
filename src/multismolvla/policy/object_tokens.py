"""Tokens that say where things are, in numbers: one per object, and one for the hand.

Patches tell where something is only to who has learnt to look there, and a small policy learns that
last. Here a query per object looks at the view tokens and gives place, heading, whether it is held,
and how sure it is of that. Training compares these numbers with the simulator's truth
(`training/auxiliary_heads.py`); the language model then reads them as tokens, beside the views.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from multismolvla.policy.config import PolicyConfig

HEADS = 4
# What is read from an object: place 3, heading 2, held 1, how unsure (logarithm) 1. Of the hand:
# place 3, joints 6, holding nothing 1.
OBJECT_NUMBERS, HAND_NUMBERS = 7, 10
# Bounds of the logarithm of the expected error, in units of 0.1 m: 1.8 mm to 0.7 m.
LOG_LEAST, LOG_MOST = -4.0, 2.0


class Estimate(NamedTuple):
    """B samples, n objects.

    Attributes:
        objects: (B, n, 7), hand: (B, 10); see above. Places are centred, in units of 0.1 m.
        looked: (B, n + 1, V, T) logarithm of where each query looked, the hand's last; its first
            head alone, for training to point it at the object. -inf where there is no view.
    """

    objects: Tensor
    hand: Tensor
    looked: Tensor


class ObjectTokens(nn.Module):
    """View tokens (B, V, T, H) -> estimate -> tokens (B, n + 1, H)."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        width, count = config.text.hidden_size, len(config.objects) + 1
        views = len(config.views) * config.tokens_per_view
        self.position = nn.Parameter(torch.randn(views, width) * 0.1)
        self.queries = nn.Parameter(torch.randn(count, width) * 0.1)
        self.norm = nn.LayerNorm(width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.read_object = nn.Linear(width, OBJECT_NUMBERS)
        self.read_hand = nn.Linear(width, HAND_NUMBERS)
        self.write_object = nn.Sequential(
            nn.Linear(OBJECT_NUMBERS, width), nn.GELU(), nn.Linear(width, width)
        )
        self.write_hand = nn.Sequential(
            nn.Linear(HAND_NUMBERS, width), nn.GELU(), nn.Linear(width, width)
        )
        self.name = nn.Parameter(torch.randn(count, width) * 0.5)

    def estimate(self, views: Tensor, present: Tensor) -> Estimate:
        """Look at the views (B, V, T, H) that there are, (B, V) bool."""
        width = views.shape[-1]
        seen = present[:, :, None].expand(views.shape[:3]).flatten(1)
        tokens = self.norm(views.flatten(1, 2)) + self.position
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        key, value = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in (key, value))
        query = self.queries.unflatten(-1, (HEADS, -1)).transpose(0, 1)
        scores = query @ key.transpose(-1, -2) * (width / HEADS) ** -0.5
        # Without any view all are looked at: the numbers mean nothing then, but must be finite.
        usable = (seen | ~seen.any(dim=1, keepdim=True))[:, None, None, :]
        looked = scores.masked_fill(~usable, -torch.inf).log_softmax(dim=-1)
        found = (looked.exp() @ value).transpose(1, 2).flatten(2)
        answers = self.queries + self.out(found)
        answers = answers + self.mlp(answers)
        objects = self.read_object(answers[:, :-1])
        unsure = objects[..., 6:].clamp(LOG_LEAST, LOG_MOST)
        objects = torch.cat((objects[..., :6], unsure), dim=-1)
        where = looked[:, 0].unflatten(-1, views.shape[1:3])
        return Estimate(objects, self.read_hand(answers[:, -1]), where)

    def forward(self, estimate: Estimate) -> Tensor:
        """The tokens: what is known, and of what."""
        objects = self.write_object(estimate.objects)
        hand = self.write_hand(estimate.hand)[:, None]
        return torch.cat((objects, hand), dim=1) + self.name
