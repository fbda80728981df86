"""A model that has seen many streams, made into one for a robot with fewer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from multismolvla.policy.model import MultiSmolVLA

# Weights with an entry per stream (dimension 1), and per view (dimension 0).
PER_STREAM = "availability.weight"
PER_VIEW = ("visual.view_embedding", "object_tokens.position", "object_tokens.queries")


def with_fewer_streams(model: MultiSmolVLA, names: Sequence[str]) -> MultiSmolVLA:
    """Return a model with the weights of this one and no place for the other streams.

    It acts exactly as this one does with the others masked. Only where it reads view tokens, and a
    view is gone with all its streams, the expert is nearer to what it reads than it has learnt.

    Args:
        names: streams to keep, in any order; the model's own order stays.

    Raises:
        ValueError: it has no 4M encoder, or lacks one of the streams.
    """
    config = model.config
    known = [stream.name for stream in config.streams]
    missing = [name for name in names if name not in known]
    if config.fourm is None or missing or not names:
        raise ValueError(
            f"the model sees {', '.join(known)} with the encoder {config.encoder}; streams can be "
            f"left out of a fourm encoder alone, and {', '.join(missing) or 'one'} must be there"
        )
    columns = [known.index(stream.name) for stream in config.streams if stream.name in names]
    kept = dataclasses.replace(config, streams=tuple(config.streams[i] for i in columns))
    rows = [config.views.index(view) for view in kept.views]
    fewer = MultiSmolVLA(kept)
    weights = model.state_dict()
    weights[PER_STREAM] = weights[PER_STREAM][:, columns]
    for name in PER_VIEW:
        if name in weights:
            weights[name] = weights[name][rows]
    fewer.load_state_dict({name: weights[name] for name in fewer.state_dict()})
    return fewer
