"""Which parameters train, how fast, and when."""

from __future__ import annotations

import math

import torch
from torch import nn

from multismolvla.training.policy.recipe import PhaseRecipe, RecipeError

BETAS = (0.9, 0.95)


def choose_trainable(model: nn.Module, phase: PhaseRecipe) -> None:
    """Freeze what the phase does not train; LoRA's choice within the language model stays.

    Raises:
        RecipeError: a start of a name that no parameter has.
    """
    starts = phase.trainable
    names = [name for name, _ in model.named_parameters()]
    for start in (*starts, *phase.learning_rates):
        if not any(name.startswith(start) for name in names):
            raise RecipeError(f"phase {phase.name}: no parameter's name starts with '{start}'")
    for name, parameter in model.named_parameters():
        if phase.frozen_views and name.startswith("visual."):
            parameter.requires_grad_(False)
        elif not (phase.lora_rank and name.startswith("text.")):
            parameter.requires_grad_(not starts or name.startswith(tuple(starts)))


def make_optimizer(objective: nn.Module, phase: PhaseRecipe) -> torch.optim.AdamW:
    """AdamW; matrices decay, everything else (norms, biases, embeddings) does not.

    Every group carries `factor`, what its learning rate is multiplied by.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if not parameter.requires_grad:
            continue
        own = name.removeprefix("model.")
        factors = [f for start, f in phase.learning_rates.items() if own.startswith(start)]
        decays = parameter.ndim >= 2 and "embed" not in name and "queries" not in name
        groups.setdefault((factors[-1] if factors else 1.0, decays), []).append(parameter)
    if not groups:
        raise RecipeError(f"phase {phase.name}: nothing trains")
    return torch.optim.AdamW(
        [
            {"params": p, "factor": factor, "weight_decay": phase.weight_decay if decays else 0.0}
            for (factor, decays), p in groups.items()
        ],
        lr=phase.learning_rate,
        betas=BETAS,
    )


def learning_rate(phase: PhaseRecipe, step: int) -> float:
    """A line up to the peak, then a cosine down to `final` of it."""
    warm_up = max(1, round(phase.warm_up * phase.steps))
    if step < warm_up:
        return phase.learning_rate * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, phase.steps - warm_up)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return phase.learning_rate * (phase.final + (1.0 - phase.final) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set it for the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
