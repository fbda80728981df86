"""Fills a cache of view tokens by an encoder that will not change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from multismolvla.policy.model import MultiSmolVLA
from multismolvla.training.batches import BatchMaker
from multismolvla.training.dropout_curriculum import rate_at
from multismolvla.training.recipe import PhaseRecipe
from multismolvla.training.view_cache import ViewCacheWriter

# Samples that lose the same streams.
BLOCK = 16


@torch.no_grad()
def encode_views(
    folder: Path,
    maker: BatchMaker,
    model: MultiSmolVLA,
    phase: PhaseRecipe,
    samples: np.ndarray,
    length: int,
    seed: int,
) -> None:
    """Encode `phase.frozen_variants` damaged variants of each sample, unless it is done already.

    Args:
        maker: of batches of frames; length: samples of the training cache.
    """
    config, device = model.config, next(model.parameters()).device
    shape = (len(config.views), config.tokens_per_view, config.text.hidden_size)
    variants = phase.frozen_variants
    writer = ViewCacheWriter(folder, samples, length, variants, shape, len(config.streams))
    if writer.complete:
        return
    model.eval()
    blocks = range(0, len(samples), BLOCK)
    with tqdm(total=variants * len(samples), desc=f"{phase.name}: views", unit="view") as bar:
        for variant in range(variants):
            rate = rate_at(phase.dropout, (variant + 0.5) / variants)
            rng = np.random.default_rng([seed, variant])
            for start in blocks:
                block = samples[start : start + BLOCK]
                group = maker.group(rng, block, rate).to(device)
                views, present = model.visual(group.frames, group.mask)
                writer.write(
                    variant, block, views=views, present=present, mask=group.mask, lost=group.lost
                )
                bar.update(len(block))
    writer.finish()
    model.train()
