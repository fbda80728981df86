"""Averaged weights: what is scored and shipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of the parameters that train.

    The decay grows with the number of updates n as (1 + n) / (10 + n), so that the random weights
    of the start are soon forgotten.

    Attributes:
        shadow: name -> averaged parameter.
        updates: how many there have been.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.shadow: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in self._parameters.items()
        }
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters of now."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        shadows = list(self.shadow.values())
        torch._foreach_lerp_(shadows, list(self._parameters.values()), 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module has the averaged weights inside, and its own again afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def apply(self) -> None:
        """The module takes the averaged weights permanently."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self.shadow[name])

    def load(self, shadow: dict[str, Tensor], updates: int) -> None:
        """Go on from a saved average."""
        for name, value in self.shadow.items():
            value.copy_(shadow[name])
        self.updates = updates

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            own = parameter.detach().clone()
            parameter.copy_(self.shadow[name])
            self.shadow[name].copy_(own)
