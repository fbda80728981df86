"""Fixed-step solvers that carry noise at t = 1 along the velocity to actions at t = 0.

A solver sees the model only as `velocity(x (B, T, A), t (B,)) -> (B, T, A)`: whether it is guided
(`real_time_chunking.py`) is not its business. What a solver costs is the number of velocity
evaluations; everything else is a few additions.

The orders hold for a velocity that is smooth in time. With random weights it is not: it swings with
the shortest period of the time embedding, 0.004, and no solver is reliably better than Euler there.
Choose one on a trained model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Solver:
    """A method to integrate the flow.

    Attributes:
        integrate: (velocity, noise (B, T, A), steps) -> actions (B, T, A).
        evaluations_per_step: velocity evaluations that one step costs.
        order: the error falls with the steps to minus this power, where the velocity is smooth.
    """

    integrate: Callable[[Velocity, Tensor, int], Tensor]
    evaluations_per_step: int
    order: int


def solve(name: str, velocity: Velocity, noise: Tensor, steps: int) -> Tensor:
    """Integrate from noise (B, T, A) at t = 1 to actions at t = 0.

    Raises:
        ValueError: unknown solver, or fewer than one step.
    """
    if name not in SOLVERS:
        raise ValueError(f"solver is '{name}'; expected one of {', '.join(SOLVERS)}")
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    return SOLVERS[name].integrate(velocity, noise, steps)


def _at(t: float, x: Tensor) -> Tensor:
    """The time as the (B,) tensor that the velocity takes; never coarser than float32."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return torch.full(x.shape[:1], t, dtype=dtype, device=x.device)


def _euler(velocity: Velocity, noise: Tensor, steps: int) -> Tensor:
    """One slope per step, at its start. LeRobot's loop: the same times and the same additions."""
    x, dt = noise, -1.0 / steps
    for step in range(steps):
        # A product, not a running sum, whose rounding LeRobot's times do not have.
        x = x + dt * velocity(x, _at(1.0 + step * dt, x))
    return x


def _adams_bashforth(velocity: Velocity, noise: Tensor, steps: int) -> Tensor:
    """Second order at Euler's price: the slope is extrapolated from this step's and the last one's.

    The first step has no last one and is Euler's, which leaves the order at two.
    """
    x, dt = noise, -1.0 / steps
    last = None
    for step in range(steps):
        slope = velocity(x, _at(1.0 + step * dt, x))
        x = x + dt * (slope if last is None else 1.5 * slope - 0.5 * last)
        last = slope
    return x


SOLVERS: dict[str, Solver] = {
    "euler": Solver(_euler, evaluations_per_step=1, order=1),
    "adams_bashforth": Solver(_adams_bashforth, evaluations_per_step=1, order=2),
}
