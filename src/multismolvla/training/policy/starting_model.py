"""The model of a recipe before its first step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from multismolvla.data.cache import TrainingCache
from multismolvla.embodiment.description import Embodiment
from multismolvla.policy.base_model import with_fourm_encoder
from multismolvla.policy.checkpoint import Checkpoint
from multismolvla.policy.checkpoint_source import load_any_checkpoint
from multismolvla.policy.config import PRESETS, ConfigError, FourMConfig
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.object_tokens import ObjectTokens
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.streams import Stream
from multismolvla.training.policy.recipe import Recipe, RecipeError, relative_joints
from multismolvla.training.policy.recipe_file import changed

# A model that has seen many streams, made into one for a robot with fewer.

# Weights with an entry per stream (dimension 1), and per view (dimension 0).
PER_STREAM = "availability.weight"
PER_VIEW = ("visual.view_embedding", "object_tokens.position", "object_tokens.queries")


def with_fewer_streams(model: MultiSmolVLA, names: Sequence[str]) -> MultiSmolVLA:
    """Return a model with the weights of this one and no place for the other streams.

    It acts exactly as this one does with the others masked. One exception: where it reads view
    tokens and a view is gone with all its streams, positions in the prefix are closer together
    than in training.

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
    fewer = MultiSmolVLA(kept, model.kinematics)
    weights = model.state_dict()
    weights[PER_STREAM] = weights[PER_STREAM][:, columns]
    for name in PER_VIEW:
        if name in weights:
            weights[name] = weights[name][rows]
    fewer.load_state_dict({name: weights[name] for name in fewer.state_dict()})
    return fewer


# Weights of perception. Of the object tokens, `READ` belongs to the action expert instead.
PERCEPTION = ("visual.", "object_tokens.")
READ = ("object_tokens.write_object.", "object_tokens.write_hand.", "object_tokens.name")


def starting_model(
    recipe: Recipe, streams: Sequence[Stream], cache: TrainingCache, embodiment: Embodiment
) -> tuple[MultiSmolVLA, Tokenizer, Normalizer | None]:
    """Model, tokenizer, and the statistics that the weights know; None for those of the data.

    Raises:
        ValueError: an unknown preset or override, or a checkpoint that cannot be read or has other
            streams.
    """
    model = recipe.model
    ours = {
        "relative_joints": relative_joints(recipe, embodiment),
        "period_s": cache.period_s,
        "objects": cache.objects if recipe.object_tokens else (),
    }
    if model.start and model.preset != "base":
        checkpoint = load_any_checkpoint(model.start, embodiment)
        checkpoint = _narrowed(checkpoint, "model.start", model.start, streams)
        for key, value in ours.items():
            has = getattr(checkpoint.config, key)
            if has != value:
                raise RecipeError(f"{model.start} has {key} {has}; the recipe and its data {value}")
        if model.encoder:
            _take_encoder(checkpoint, model.encoder, streams, embodiment)
        return checkpoint.model, checkpoint.tokenizer, checkpoint.normalizer
    if model.preset not in PRESETS:
        raise RecipeError(f"model.preset is {model.preset!r}; expected one of {', '.join(PRESETS)}")
    if model.preset == "base" and model.start:
        smolvla = load_any_checkpoint(model.start, embodiment, weights_only=True)
        built = with_fourm_encoder(smolvla.model, streams, FourMConfig(), model.fourm_weights)
        built.config = dataclasses.replace(built.config, **ours)
        if built.config.objects:
            built.object_tokens = ObjectTokens(built.config, embodiment.kinematics)
        return built.float(), smolvla.tokenizer, None
    try:
        preset = PRESETS[model.preset](tuple(streams), embodiment, ours["objects"])
        config = dataclasses.replace(changed(preset, model.overrides), **ours)
    except ConfigError as error:
        raise RecipeError(f"model: {error}") from None
    torch.manual_seed(recipe.seed)
    tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
    if tokenizer.vocabulary_size > config.text.vocab_size:
        raise RecipeError(
            f"model: text.vocab_size is {config.text.vocab_size}; the shipped tokenizer has "
            f"{tokenizer.vocabulary_size} tokens"
        )
    return MultiSmolVLA(config, embodiment.kinematics), tokenizer, None


def _narrowed(
    checkpoint: Checkpoint, key: str, source: str, streams: Sequence[Stream]
) -> Checkpoint:
    """The checkpoint without the streams that the recipe's data lack."""
    theirs = [stream.name for stream in checkpoint.config.streams]
    ours = [stream.name for stream in streams]
    if ours == theirs:
        return checkpoint
    if ours != [name for name in theirs if name in ours] or checkpoint.config.fourm is None:
        raise RecipeError(
            f"{key}: {source} sees {', '.join(theirs)}; the recipe's data have {', '.join(ours)}"
        )
    model = with_fewer_streams(checkpoint.model, ours)
    return checkpoint._replace(model=model, config=model.config)


def _take_encoder(
    checkpoint: Checkpoint, source: str, streams: Sequence[Stream], embodiment: Embodiment
) -> None:
    """Replace the checkpoint's encoder and object queries by those of another one."""
    other = _narrowed(load_any_checkpoint(source, embodiment), "model.encoder", source, streams)
    if other.config != checkpoint.config:
        raise RecipeError(f"model.encoder: {source} is another model than model.start")
    for name in ("state_mean", "state_std"):
        # The object queries read the joints too, normalised by these.
        if not torch.equal(getattr(other.normalizer, name), getattr(checkpoint.normalizer, name)):
            raise RecipeError(f"model.encoder: {source} has another {name} than model.start")
    taken = {
        name: value
        for name, value in other.model.state_dict().items()
        if name.startswith(PERCEPTION) and not name.startswith(READ)
    }
    checkpoint.model.load_state_dict(taken, strict=False)
