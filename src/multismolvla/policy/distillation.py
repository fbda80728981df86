"""Stage 1: the connector's tokens learn to be the tokens that the language model knows.

Compared token by token. A pooled comparison would accept tokens that are right on average and wrong
each, and the language model reads each.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# Keeps the logarithm of a zero token finite; real tokens are 1e6 times longer.
SMALLEST_NORM = 1e-6


class DistillationLoss(NamedTuple):
    """Scalars, to be weighted by the trainer.

    Attributes:
        direction: mean over tokens of 1 - cosine, 0 to 2.
        norm: mean over tokens of (ln |student| - ln |teacher|)^2, the same for half and for double.
    """

    direction: Tensor
    norm: Tensor


def distillation_loss(student: Tensor, teacher: Tensor, present: Tensor) -> DistillationLoss:
    """Compare each present token with the teacher's at the same place.

    Args:
        student: (B, V, N, H) tokens of V views.
        teacher: the same shape; no gradient flows into it.
        present: bool, the shape of the tokens without one or more of their last axes: (B, V) per
            view or (B, V, N) per token. The others may hold anything, NaN included.

    Returns:
        The two terms; both 0 where no token is present.

    Raises:
        ValueError: shapes that do not fit.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"student is {tuple(student.shape)}, teacher {tuple(teacher.shape)}; expected the same"
        )
    if present.dim() >= student.dim() or present.shape != student.shape[: present.dim()]:
        raise ValueError(
            f"present is {tuple(present.shape)}; expected the first axes of {tuple(student.shape)}"
        )
    width = student.shape[-1]
    # Chosen, not multiplied: no gradient and no NaN can come from the tokens left out. In float32,
    # whose cosines do not round to 1 early.
    student = student[present].reshape(-1, width).float()
    teacher = teacher.detach()[present].reshape(-1, width).float()
    count = max(len(student), 1)
    cosine = functional.cosine_similarity(student, teacher, dim=-1)
    ratio = _log_norm(student) - _log_norm(teacher)
    return DistillationLoss((1.0 - cosine).sum() / count, ratio.square().sum() / count)


def _log_norm(tokens: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tokens, dim=-1).clamp_min(SMALLEST_NORM).log()
