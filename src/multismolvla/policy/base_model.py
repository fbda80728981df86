"""`base` before its training: SmolVLA behind the encoder of 4M-21."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from multismolvla.policy.config import FourMConfig
from multismolvla.policy.fourm_views import FourMViews
from multismolvla.policy.fourm_weights import initialise_views
from multismolvla.policy.hub import download
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.streams import Stream


def with_fourm_encoder(
    smolvla: MultiSmolVLA,
    streams: Sequence[Stream],
    fourm: FourMConfig,
    weights: str | Path,
    resolve: Callable[[str], Path] = download,
) -> MultiSmolVLA:
    """Replace the RGB encoder of a plain SmolVLA by 4M-21's, for all streams of a robot.

    Language model, expert and projections are the given model's, shared and not copied. The
    connector, the availability token and the patches of depth, thermal and segmentation are new
    and must be trained. The connector starts at the size of the language embeddings, so that
    attention overlooks neither.

    Args:
        weights: of 4M-21: a file, a folder or a hub id such as `EPFL-VILAB/4M-21_B`.

    Raises:
        ValueError: the weights of 4M-21 cannot be had or do not fit.
    """
    config = dataclasses.replace(
        smolvla.config, encoder="fourm", siglip=None, fourm=fourm, streams=tuple(streams)
    )
    model = MultiSmolVLA(config)
    for name, part in smolvla.named_children():
        if name != "visual":
            setattr(model, name, part)
    visual = model.visual
    assert isinstance(visual, FourMViews)
    initialise_views(visual, weights, resolve)
    with torch.no_grad():
        embeddings = model.text.embed_tokens.weight * config.text.hidden_size**0.5
        nn.init.constant_(visual.connector.norm.weight, float(embeddings.square().mean().sqrt()))
    return model
