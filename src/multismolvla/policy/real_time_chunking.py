"""Real-time chunking: a new chunk that continues the one being executed.

Black, Galliker, Levine 2025 (arXiv 2506.07339). While a chunk is computed, the arm continues with
the previous one. The rows that will have been executed by then are fixed to the previous chunk, the
rows after them are guided to it with decreasing weight, up to a horizon, and the rest is free.
Guidance changes the velocity of the flow, so it works with every solver, and no training is needed.
It is guidance, not a constraint: the fixed rows end close to the previous chunk, not on it, so the
arm should finish the previous chunk's rows and continue with the new one after them.

The paper's time tau runs from noise to actions; here t = 1 - tau, and the velocity has the opposite
sign. At (x_t, t) the flow expects the actions x^ = x_t - t v(x_t, t), and the guided velocity is

    v - g (dx^/dx_t)^T W (previous - x^),    g = min(max weight, (t^2 + (1-t)^2) / (t (1-t)))

with the weights W of the rows on the diagonal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from multismolvla.policy.solvers import Velocity


def row_weights(delay: int, horizon: int, rows: int) -> Tensor:
    """How strongly each row of a chunk is held to the previous one.

    1 before `delay`, 0 from `horizon` on; between them c (e^c - 1) / (e - 1), the paper's choice,
    of a line c from 1 to 0 that touches neither. A horizon before the delay means the delay.

    Returns:
        (rows,) float32.
    """
    horizon = max(horizon, delay)
    row = torch.arange(rows, dtype=torch.float32)
    line = ((horizon - row) / (horizon - delay + 1)).clamp(0.0, 1.0)
    return line * torch.expm1(line) / math.expm1(1.0)


@dataclass(frozen=True)
class RealTimeChunking:
    """Settings of the guidance, which costs one backward pass per evaluation: about its time again.

    Attributes:
        horizon: row from which a chunk is free.
        max_guidance_weight: bound of g, which is infinite at both ends of the flow. A larger one
            holds the rows tighter, but a solver overshoots where it exceeds the number of steps.
    """

    horizon: int = 10
    max_guidance_weight: float = 10.0

    def __post_init__(self) -> None:
        if self.horizon < 0:
            raise ValueError(f"horizon is {self.horizon}; expected at least 0 rows")
        if not 0 <= self.max_guidance_weight < math.inf:
            raise ValueError(
                f"max_guidance_weight is {self.max_guidance_weight}; expected 0 or more, finite"
            )

    def guide(self, velocity: Velocity, previous: Tensor, delay: int) -> Velocity:
        """Return a velocity that leads to chunks which continue `previous`.

        Args:
            velocity: the model's. It is differentiated with respect to x, under `torch.no_grad`
                too; the result carries no gradient.
            previous: (B, P, D) the rows of the previous chunk that belong to the instants of the
                new chunk's first P rows, in the model's units; P and D at most the chunk's. Rows
                beyond P and dimensions beyond D are free: delay and horizon end at P.
            delay: rows that will have run when the new chunk arrives. It may exceed the horizon.

        Raises:
            ValueError: negative delay.
            RuntimeError: from the guided velocity, where `torch.inference_mode` forbids gradients.
        """
        if delay < 0:
            raise ValueError(f"delay is {delay}; expected at least 0 rows")
        rows, width = previous.shape[1:]
        held = row_weights(min(delay, rows), min(self.horizon, rows), rows)
        if not held.any():
            return velocity
        held = held[:, None].to(previous)

        def error(expected: Tensor) -> Tensor:
            weighted = torch.zeros_like(expected)
            weighted[:, :rows, :width] = held * (previous - expected[:, :rows, :width])
            return weighted

        def guided(x: Tensor, t: Tensor) -> Tensor:
            time = t[:, None, None]
            if torch.is_inference_mode_enabled():
                raise RuntimeError(
                    "guidance needs gradients; use torch.no_grad, not inference_mode"
                )
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                v = velocity(x, t)
                expected = x - time * v
                (correction,) = torch.autograd.grad(expected, x, error(expected.detach()))
            v = v.detach()
            strength = (time.square() + (1.0 - time).square()) / (time * (1.0 - time))
            return v - strength.clamp_max(self.max_guidance_weight) * correction

        return guided
