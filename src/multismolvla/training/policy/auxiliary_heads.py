"""Auxiliary losses: the model's estimate of the scene against the simulator's poses and labels.

A policy needs most of all to know where objects are, and its own loss teaches that last. So the
object tokens are compared with the simulator's poses, their attention with the object's pixels, and
every view token predicts the labels of its part of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from multismolvla.modalities.segmentation import LABELS
from multismolvla.policy.gripper_frame import SCALE_M
from multismolvla.policy.object_tokens import Estimate
from multismolvla.training.policy.auxiliary_targets import AuxiliaryTargets

MILLIMETRES = 1000.0 * SCALE_M
JOINTS = slice(3, -1)
OBJECT_LABELS = slice(LABELS.index("cube"), None)
# Most of a frame is table and background.
FOREGROUND_WEIGHT = 8.0


class AuxiliaryHeads(nn.Module):
    """View tokens (B, V, T, H) and the estimate from them -> loss.

    Args:
        objects: names; the last word of a name is its label in a segmentation, as in `red_cube`.
        width: H.
    """

    def __init__(self, objects: Sequence[str], width: int) -> None:
        super().__init__()
        self.labels = nn.Linear(width, len(LABELS))
        words = [name.rpartition("_")[2] for name in objects] + ["gripper"]
        self._columns = [LABELS.index(word) if word in LABELS else None for word in words]

    def forward(
        self, tokens: Tensor, present: Tensor, estimate: Estimate | None, targets: AuxiliaryTargets
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss per sample (B,), and detached metrics.

        Args:
            present: (B, V) bool, which views have any tokens.
            estimate: None where the model makes none.
        """
        seen = present[:, :, None].expand(tokens.shape[:3])
        known = seen & targets.labels[..., 0].isfinite()
        shares = torch.where(known[..., None], targets.labels, 0.0)
        loss = labels = self._label_loss(tokens, known, shares)
        metrics = {"labels": labels.detach().mean()}
        if estimate is not None:
            scene, more = scene_loss(estimate, targets)
            loss = 0.5 * labels + scene + 0.3 * self._look_loss(estimate, shares, targets.tokens)
            metrics |= more
        return loss, metrics

    def _label_loss(self, tokens: Tensor, known: Tensor, shares: Tensor) -> Tensor:
        crossed = -(shares * self.labels(tokens).log_softmax(dim=-1)).sum(dim=-1)
        weight = known * (1.0 + FOREGROUND_WEIGHT * shares[..., OBJECT_LABELS].sum(dim=-1))
        return (crossed * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp_min(1e-6)

    def _look_loss(self, estimate: Estimate, shares: Tensor, tokens: Tensor) -> Tensor:
        """How far each query's attention is from where its object is seen: where its label is, or
        where its position lies in the frame."""
        total = shares.new_zeros(len(shares))
        for query, column in enumerate(self._columns):
            if column is not None:
                there = shares[..., column]
            else:
                token = tokens[:, query]
                there = functional.one_hot(token.clamp_min(0), shares.shape[2]).to(shares)
                there = there * (token >= 0)[..., None]
            # Each view in which it is seen counts the same, however large it is there.
            there = there / there.sum(dim=-1, keepdim=True).clamp_min(1e-6)
            there = there / there.sum(dim=(1, 2), keepdim=True).clamp_min(1e-6)
            looked = estimate.looked[:, query].clamp_min(-20.0)
            total = total - (there * looked).sum(dim=(1, 2))
        return total / len(self._columns)


def scene_loss(estimate: Estimate, targets: AuxiliaryTargets) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss per sample (B,) of the numbers themselves, and how far off they are."""
    objects, gripper = estimate.objects, estimate.gripper
    unsure = objects[..., 6:]
    # Laplace: the absolute error over its expected size, and the size must be honest.
    place = _known_mean(
        objects[..., :3], targets.positions, lambda error: error.abs() / unsure.exp() + unsure
    )
    heading = _known_mean(objects[..., 3:5], targets.headings, torch.square)
    held_logits = torch.cat((objects[..., 5], gripper[:, -1:]), dim=1)
    held = functional.cross_entropy(held_logits, targets.held, reduction="none")
    grip = (gripper[:, :3] - targets.gripper).abs().mean(dim=1)
    joints = (gripper[:, JOINTS] - targets.joints).abs().mean(dim=1)
    loss = place + 2.0 * grip + joints + 8.0 * heading + 0.5 * held
    with torch.no_grad():
        error = (objects[..., :3] - targets.positions).norm(dim=-1) * MILLIMETRES
        error = error[error.isfinite()]
        nothing = torch.full((), math.nan, device=gripper.device)
        metrics = {
            "object_mm": error.median() if len(error) else nothing,
            "object_mean_mm": error.mean() if len(error) else nothing,
            "gripper_mm": (gripper[:, :3] - targets.gripper).norm(dim=-1).median() * MILLIMETRES,
            "held": (held_logits.argmax(dim=1) == targets.held).float().mean(),
        }
    return loss, metrics


def _known_mean(found: Tensor, wanted: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of `loss` of the error over what is known, per sample (B,)."""
    known = wanted.isfinite()
    error = torch.where(known, found - wanted, 0.0)
    total = torch.where(known, loss(error), 0.0).flatten(1).sum(dim=1)
    return total / known.flatten(1).sum(dim=1).clamp_min(1)
