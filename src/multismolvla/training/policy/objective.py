"""What a phase minimises, as one module: what accelerate wraps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multismolvla.policy.distillation import distillation_loss
from multismolvla.policy.flow_matching import interpolate, target_velocity
from multismolvla.policy.model import MultiSmolVLA, Prefix
from multismolvla.training.policy.auxiliary_heads import AuxiliaryHeads
from multismolvla.training.policy.batches import Group
from multismolvla.training.policy.privileged_reading import no_views
from multismolvla.training.policy.recipe import PhaseRecipe

# The policy's loss: many draws of the flow per encoded observation.


def repeated(prefix: Prefix, times: int) -> Prefix:
    """The same observations `times` times, sample by sample: 0 0 0 1 1 1 ..."""
    cache = [
        (key.repeat_interleave(times, dim=0), value.repeat_interleave(times, dim=0))
        for key, value in prefix.cache
    ]
    mask = prefix.mask.repeat_interleave(times, dim=0)
    return Prefix(cache, mask, prefix.end.repeat_interleave(times, dim=0))


def row_weights(rows: int, near: float, device: torch.device | None = None) -> Tensor:
    """Weights (rows,) of mean 1: 1 + near at row 0, falling linearly to 1 at the last row."""
    weights = 1.0 + near * torch.linspace(1.0, 0.0, rows, device=device)
    return weights / weights.mean()


def flow_loss(
    model: MultiSmolVLA,
    prefix: Prefix,
    actions: Tensor,
    noise: Tensor,
    time: Tensor,
    near_rows: float = 0.0,
) -> Tensor:
    """Squared error of the velocity per sample (B,), the mean over draws, rows and joints.

    An observation costs far more to encode than a pass of the expert over its actions; several
    draws per observation take the noise of the draw out of the gradient for little.

    Args:
        actions: (B, T, A); noise: (B, K, T, A), time: (B, K) for K draws.
    """
    draws = noise.shape[1]
    target = actions.repeat_interleave(draws, dim=0)
    noise, time = noise.flatten(0, 1), time.flatten()
    x_t = interpolate(target, noise, time)
    velocity = model.velocity(repeated(prefix, draws), x_t, time)
    residual = (velocity - target_velocity(target, noise))[..., : len(model.config.action_names)]
    weights = row_weights(residual.shape[1], near_rows, residual.device)
    squared = residual.float().square().mean(dim=-1) * weights
    return squared.mean(dim=1).unflatten(0, (-1, draws)).mean(dim=1)


class Objective(nn.Module):
    """Model and heads with the loss of a phase.

    Args:
        teacher: a SmolVLA whose RGB encoder gives the tokens to be met; it does not train.
    """

    def __init__(
        self,
        model: MultiSmolVLA,
        heads: AuxiliaryHeads,
        phase: PhaseRecipe,
        teacher: MultiSmolVLA | None = None,
    ) -> None:
        super().__init__()
        self.model, self.heads = model, heads
        self._phase = phase
        self._teacher = [teacher]  # in a list: no part of this module's weights

    def forward(self, group: Group) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss per sample (B,), and detached metrics."""
        phase, model = self._phase, self.model
        if group.scene is not None:
            views, present = no_views(model, group.state)
        elif group.views is None:
            views, present = model.visual(group.frames, group.mask)
        else:
            views, present = group.views, group.present
        estimate = group.scene
        language = (group.language, group.language_mask)
        if estimate is None and model.config.objects:
            estimate = model.object_tokens.estimate(views, present, group.state, *language)
        if phase.kind == "perception":
            loss, metrics = self.heads(views, present, estimate, group.targets)
            return loss, metrics | {"auxiliary": loss.mean().detach()}
        metrics: dict[str, Tensor] = {}
        prefix = model.read(views, present, group.mask, *language, group.state, estimate=estimate)
        loss = flow_loss(
            model, prefix, group.actions, group.noise, group.time, near_rows=phase.near_rows
        )
        beside = group.scene is not None and phase.kind == "policy"
        metrics["privileged" if beside else "flow"] = loss.mean().detach()
        if group.targets is not None:
            auxiliary, more = self.heads(views, present, estimate, group.targets)
            metrics |= more | {"auxiliary": auxiliary.mean().detach()}
            loss = loss + phase.auxiliary * auxiliary
        if phase.distillation:
            distance = self._distance(group, views, present)
            metrics["distillation"] = distance.detach()
            loss = loss + phase.distillation * distance
        return loss, metrics

    def _distance(self, group: Group, views: Tensor, present: Tensor) -> Tensor:
        """How far the view tokens are from the teacher's, where both see the view."""
        teacher = self._teacher[0]
        config = teacher.config
        columns = [self.model.config.views.index(stream.view) for stream in config.streams]
        seen = torch.tensor([s.name in group.taught for s in config.streams], device=views.device)
        seen = seen.expand(len(group), -1)
        with torch.no_grad():
            taught, _ = teacher.visual(group.taught, seen)
        student = views[:, columns]
        direction, norm = distillation_loss(student, taught, present[:, columns] & seen)
        return direction + norm
