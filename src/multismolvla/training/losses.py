"""The policy's loss: many draws of the flow per encoded observation."""

from __future__ import annotations

import torch
from torch import Tensor

from multismolvla.policy.flow_matching import interpolate, target_velocity
from multismolvla.policy.model import MultiSmolVLA, Prefix


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
    residual = (velocity - target_velocity(target, noise))[..., : len(model.config.joints)]
    weights = row_weights(residual.shape[1], near_rows, residual.device)
    squared = residual.float().square().mean(dim=-1) * weights
    return squared.mean(dim=1).unflatten(0, (-1, draws)).mean(dim=1)
