"""What `Normalizer` needs, from the samples of a cache."""

from __future__ import annotations

import numpy as np
import torch

from multismolvla.data.cache import TrainingCache
from multismolvla.policy.config import PolicyConfig
from multismolvla.policy.normalization import Normalizer

# An offset of row 0 is nearly nothing; divided by its own spread, noise would be all there is.
LEAST_STD_RAD = 0.02
BLOCK = 4096


def make_normalizer(config: PolicyConfig, cache: TrainingCache, indices: np.ndarray) -> Normalizer:
    """Statistics of the states and chunks of the samples `indices`.

    Absolute actions share one mean and deviation per joint, relative ones have them per row.
    """
    relative = np.array([joint in config.relative_joints for joint in config.joints])
    states = cache.array("state")[indices].astype(np.float64)
    rows = config.chunk_size
    count, total, squares = 0, 0.0, 0.0
    for start in range(0, len(indices), BLOCK):
        block = np.sort(indices[start : start + BLOCK])
        chunk = cache.array("chunk")[block, :rows].astype(np.float64)
        chunk -= np.where(relative, cache.array("state")[block], 0.0)[:, None]
        if not config.relative_joints:
            chunk = chunk.reshape(-1, chunk.shape[-1])
        count += len(chunk)
        total = total + chunk.sum(axis=0)
        squares = squares + np.square(chunk).sum(axis=0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return Normalizer(
        config,
        state_mean=torch.from_numpy(states.mean(axis=0)),
        state_std=torch.from_numpy(np.maximum(states.std(axis=0), LEAST_STD_RAD)),
        action_mean=torch.from_numpy(mean),
        action_std=torch.from_numpy(np.maximum(std, LEAST_STD_RAD)),
    )
