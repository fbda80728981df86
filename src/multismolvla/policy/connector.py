"""From encoded grids to tokens of the language model."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multismolvla.policy.config import ConfigError


def fuse(grids: Tensor, present: Tensor | None = None) -> Tensor:
    """Mean over the streams present, per grid position.

    Args:
        grids: (B, U, N, D), one grid of N positions per stream.
        present: (B, U) bool; None = all are there. Absent grids are never read.

    Returns:
        (B, N, D); zeros for a sample that has no stream.
    """
    if present is None:
        return grids.mean(dim=1)
    total = torch.where(present[:, :, None, None], grids, 0.0).sum(dim=1)
    return total / present.sum(dim=1).clamp(min=1)[:, None, None]


class Connector(nn.Module):
    """MLP per grid position, pooling to the tokens of a view, norm with a learned scale.

    Args:
        dim: channels of the grid.
        grid: positions on each side of the grid.
        tokens: tokens of a view, a square number; they lie on a grid too.
        hidden_size: channels of the language model.
        norm_target: root mean square of the output at the start of training. It should be that of
            the language model's embeddings, or attention sees one and overlooks the other.

    Raises:
        ConfigError: tokens is no square, or above grid^2.
    """

    def __init__(
        self, dim: int, grid: int, tokens: int, hidden_size: int, norm_target: float = 1.0
    ) -> None:
        super().__init__()
        self.grid, self.side = grid, math.isqrt(tokens)
        if self.side**2 != tokens or self.side > grid:
            raise ConfigError(
                f"tokens_per_view is {tokens}; expected a square number up to {grid**2}, "
                f"the positions of the encoder's {grid} x {grid} grid"
            )
        self.fc1 = nn.Linear(dim, hidden_size)
        self.fc2 = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.RMSNorm(hidden_size, eps=1e-6)
        nn.init.constant_(self.norm.weight, norm_target)

    def forward(self, grid: Tensor) -> Tensor:
        """Grid (B, grid^2, dim) -> tokens (B, tokens, hidden_size), both row by row."""
        x = F.gelu(self.fc1(grid))
        if self.side != self.grid:
            # Before fc2, not behind it: a linear map of a mean is the mean of the linear maps,
            # and fewer positions are left to map.
            x = x.transpose(1, 2).unflatten(2, (self.grid, self.grid))
            x = F.adaptive_avg_pool2d(x, self.side).flatten(2).transpose(1, 2)
        # A norm of another type than its weight's would be the slow one.
        return self.norm(self.fc2(x).to(self.norm.weight.dtype))
