"""Flow matching on action chunks: the path from actions to noise, and the loss along it.

Time runs from 0 (actions) to 1 (noise), as in SmolVLA (arXiv 2506.01844) and pi0 (arXiv
2410.24164): x_t = t noise + (1 - t) actions, so the velocity dx/dt is noise - actions everywhere
on the path. Sampling integrates that velocity from 1 to 0 (`solvers.py`).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Numbers = TypeVar("Numbers", Tensor, np.ndarray)

# Beta(1.5, 1) leans towards noise, where the velocity is hardest to tell; the last 0.1 % next to
# the actions is left out (pi0, appendix B; SmolVLA uses the same numbers).
BETA_ALPHA = 1.5
TIME_SCALE = 0.999
TIME_OFFSET = 0.001


def sample_time(
    batch: int, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
) -> Tensor:
    """Draw flow times, (batch,) float32 in [0.001, 1].

    Torch's own Beta takes no generator.
    """
    return flow_time(torch.rand(batch, generator=generator, device=device))


def flow_time(uniform: Numbers) -> Numbers:
    """Turn draws from [0, 1) into draws of the flow time.

    Beta(a, 1) has the distribution function x^a, so a uniform number to the power 1/a is a draw
    from it.
    """
    return TIME_SCALE * uniform ** (1.0 / BETA_ALPHA) + TIME_OFFSET


def interpolate(actions: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Return x_t (B, T, A), the point of the path at `time` (B,) from actions to noise."""
    t = time[:, None, None]
    return t * noise + (1.0 - t) * actions


def target_velocity(actions: Tensor, noise: Tensor) -> Tensor:
    """Return u_t = dx_t/dt (B, T, A), the same at every time."""
    return noise - actions


def flow_matching_loss(
    residual: Tensor,
    action_dim: int,
    valid: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean squared residual of the velocity over the entries that mean something.

    Args:
        residual: (B, T, A) predicted minus target velocity.
        action_dim: the first so many of the A dimensions are the robot's, the rest is padding.
        valid: (B, T) bool, False on rows after the end of an episode; their residual may be NaN.
        weights: (B,) weight of each sample's entries, at least 0; only their ratios matter.

    Returns:
        A scalar; 0 where no entry is valid.

    Raises:
        ValueError: a shape that does not fit, which would otherwise broadcast silently.
    """
    batch, rows, width = residual.shape
    if not 0 < action_dim <= width:
        raise ValueError(f"action_dim is {action_dim}; expected 1 to {width}")
    if valid is None:
        valid = residual.new_ones(batch, rows, dtype=torch.bool)
    if weights is None:
        weights = residual.new_ones(batch)
    if valid.shape != (batch, rows):
        raise ValueError(f"valid has shape {tuple(valid.shape)}; expected {(batch, rows)}")
    if weights.shape != (batch,):
        raise ValueError(f"weights have shape {tuple(weights.shape)}; expected {(batch,)}")
    # Select, not multiply: 0 times NaN is NaN.
    squared = torch.where(valid[..., None], residual[..., :action_dim], 0.0).square()
    total = (weights * squared.sum(dim=(1, 2))).sum()
    count = (weights * valid.sum(dim=1)).sum() * action_dim
    return torch.where(count > 0, total / count.clamp_min(torch.finfo(count.dtype).tiny), 0.0)
