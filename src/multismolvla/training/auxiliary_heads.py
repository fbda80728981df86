"""Heads that say what the eyes should see; they exist only while training.

Where objects are is what a policy needs most and what its own loss teaches last. The simulator
knows it, so the view tokens are asked for it directly: per object by a query that looks at all
tokens, and per token by its labels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from multismolvla.streams import LABELS
from multismolvla.training.auxiliary_targets import SCALE_M, AuxiliaryTargets

HEADS = 4
JOINTS = 6
# 3 for the place, 2 for the heading, 1 for being held.
OBJECT_OUTPUTS = 6
MILLIMETRES = 1000.0 * SCALE_M
# An error of this size, in units of `SCALE_M`, is where the loss turns from square to linear: 5 mm.
SMALL = 0.05


class AuxiliaryHeads(nn.Module):
    """View tokens (B, V, T, H) -> objects, hand and labels.

    Args:
        objects: how many.
        views, width: V and H.
    """

    def __init__(self, objects: int, views: int, width: int) -> None:
        super().__init__()
        self.objects = objects
        self.view = nn.Parameter(torch.randn(views, 1, width) * 0.02)
        # One query per object, and one for the hand.
        self.queries = nn.Parameter(torch.randn(objects + 1, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.key_value = nn.Linear(width, 2 * width)
        self.query = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.object = nn.Linear(width, OBJECT_OUTPUTS)
        self.hand = nn.Linear(width, 3 + JOINTS + 1)
        self.labels = nn.Linear(width, len(LABELS))

    def forward(
        self, tokens: Tensor, present: Tensor, targets: AuxiliaryTargets
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss per sample (B,), and detached metrics.

        Args:
            tokens: (B, V, T, H); present: (B, V) bool, which views have any.
        """
        seen = present[:, :, None].expand(tokens.shape[:3])
        answers = self._ask(self.norm(tokens) + self.view, seen)
        objects = self.object(answers[:, : self.objects])
        hand = self.hand(answers[:, -1])

        place = _huber(objects[..., :3], targets.positions)
        heading = _masked(objects[..., 3:5], targets.headings, torch.square)
        held_logits = torch.cat((objects[..., 5], hand[:, -1:]), dim=1)
        held = functional.cross_entropy(held_logits, targets.held, reduction="none")
        grip = _huber(hand[:, :3], targets.hand)
        joints = (hand[:, 3 : 3 + JOINTS] - targets.joints).square().mean(dim=1)

        logits = self.labels(tokens).log_softmax(dim=-1)
        known = seen & targets.labels[..., 0].isfinite()
        crossed = -(torch.where(known[..., None], targets.labels, 0.0) * logits).sum(dim=-1)
        # Most of a picture is table and background: weighted by how much else there is.
        weight = known * (1.0 + 8.0 * _foreground(targets.labels, known))
        count = weight.sum(dim=(1, 2)).clamp_min(1e-6)
        labels = (crossed * weight).sum(dim=(1, 2)) / count

        loss = 2.0 * place + grip + joints + 0.5 * heading + 0.25 * held + 0.5 * labels
        return loss, self._metrics(objects, hand, held_logits, targets, labels)

    def _ask(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """What the queries find (B, n + 1, H) in the tokens that are there (B, V, T)."""
        batch, width = len(tokens), tokens.shape[-1]
        key, value = self.key_value(tokens.flatten(1, 2)).chunk(2, dim=-1)
        query = self.query(self.queries).expand(batch, -1, -1)

        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (HEADS, width // HEADS)).transpose(1, 2)

        mask = seen.flatten(1)[:, None, None, :]
        found = functional.scaled_dot_product_attention(
            split(query), split(key), split(value), attn_mask=mask
        )
        answers = self.queries + self.out(found.transpose(1, 2).flatten(2))
        return answers + self.mlp(answers)

    @torch.no_grad()
    def _metrics(
        self,
        objects: Tensor,
        hand: Tensor,
        held: Tensor,
        targets: AuxiliaryTargets,
        labels: Tensor,
    ) -> dict[str, Tensor]:
        """Median and mean errors, millimetres and shares."""
        error = (objects[..., :3] - targets.positions).norm(dim=-1) * MILLIMETRES
        error = error[error.isfinite()]
        grip = (hand[:, :3] - targets.hand).norm(dim=-1) * MILLIMETRES
        nothing = torch.full((), math.nan, device=held.device)
        return {
            "object_mm": error.median() if len(error) else nothing,
            "object_mean_mm": error.mean() if len(error) else nothing,
            "hand_mm": grip.median(),
            "held": (held.argmax(dim=1) == targets.held).float().mean(),
            "labels": labels.mean(),
        }


def _huber(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean over all but the first axis of a loss that is square up to `SMALL`, then linear."""

    def loss(error: Tensor) -> Tensor:
        return functional.huber_loss(
            error, torch.zeros_like(error), reduction="none", delta=SMALL
        ).div(SMALL)

    return _masked(found, wanted, loss)


def _masked(found: Tensor, wanted: Tensor, loss) -> Tensor:
    """Mean of `loss` of the error over what is known, per sample (B,)."""
    known = wanted.isfinite()
    error = torch.where(known, found - wanted, 0.0)
    total = (loss(error) * known).flatten(1).sum(dim=1)
    return total / known.flatten(1).sum(dim=1).clamp_min(1)


def _foreground(labels: Tensor, known: Tensor) -> Tensor:
    """Share (B, V, T) of each cell that is an object."""
    first = LABELS.index("cube")
    return torch.where(known, labels[..., first:].sum(dim=-1), 0.0)
