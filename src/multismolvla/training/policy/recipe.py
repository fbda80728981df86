"""A training run: model, data, phases. `recipe_file.py` reads it from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multismolvla.embodiment.description import Embodiment

KINDS = ("perception", "action_expert", "policy")


class RecipeError(ValueError):
    """The recipe is wrong; the message names file, key, value and what was expected."""


@dataclass(frozen=True)
class ModelRecipe:
    """Where the weights start.

    Attributes:
        preset: sizes of a model that starts from random weights; see `policy.config.PRESETS`.
        start: folder or hub id of a checkpoint to continue from, instead of random weights; with
            the preset `base`, of the SmolVLA behind the encoder.
        encoder: with `start`: folder of a checkpoint whose encoder and object queries replace those
            of `start`, so that perception and action expert can be trained in parallel.
        fourm_weights: with `base`: weights of the 4M-21 encoder.
        overrides: values of the preset to change, as a tree of the names in `PolicyConfig`.
    """

    preset: str = "small"
    start: str = ""
    encoder: str = ""
    fourm_weights: str = "EPFL-VILAB/4M-21_B"
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        joins = not self.encoder or (bool(self.start) and self.preset != "base")
        expected = "a checkpoint only if `start` names one of MultiSmolVLA (and no preset `base`)"
        _need(joins, "model.encoder", self.encoder, expected)


@dataclass(frozen=True)
class DataRecipe:
    """What is trained on.

    Attributes:
        cache: folder of the training cache.
        streams: streams to train on, in the order of the cache; empty for all.
        episodes: use only this many training episodes, the first ones; 0 for all.
        workers: threads that prepare batches.
    """

    cache: str = "data/cache"
    streams: tuple[str, ...] = ()
    episodes: int = 0
    workers: int = 1


@dataclass(frozen=True)
class DropoutRecipe:
    """How often streams are dropped; see `dropout_curriculum.py`.

    Attributes:
        schedule: `curriculum` (0 to `rate` over `ramp` of the phase), `fixed` or `none`.
        rate: probability per stream, in the end.
        soft_share: share of it that is damage without a mask; the rest is masked.
        ramp: share of the phase's steps after which the rate is reached.
        by_stream, by_modality, by_view: weights of what is dropped together: one stream, a kind
            of image in all views, a view with all its streams.
        alone: where a single one is left, which one: name of a stream, kind of image or view ->
            weight, 1 for those that are not named. The least informative needs the most samples.
    """

    schedule: str = "curriculum"
    rate: float = 0.5
    soft_share: float = 0.5
    ramp: float = 1.0
    by_stream: float = 0.4
    by_modality: float = 0.4
    by_view: float = 0.2
    alone: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class AugmentRecipe:
    """How much the frames vary; 0 switches a term off. See `image_augmentation.py`.

    Attributes:
        colour: spread of brightness, contrast, saturation and the channels' gains.
        texture: spread of the blotches and the noise on RGB, of the range.
        shift_px: largest shift of all streams of a view together, pixels.
        depth_m: standard deviation of a frame's depth error, metres.
        thermal_c: of a frame's temperature error, degrees.
        labels: share of the labels that are wrong.
        others: factor on the errors of the kinds of image that have no key here.
    """

    colour: float = 0.25
    texture: float = 0.05
    shift_px: int = 1
    depth_m: float = 0.003
    thermal_c: float = 1.5
    labels: float = 0.005
    others: float = 1.0


@dataclass(frozen=True)
class PhaseRecipe:
    """One phase.

    Attributes:
        name: of the phase in logs and folders.
        kind: `perception` (encoder and object tokens; no language model), `action_expert`
            (language model and action expert on privileged object poses; no frames), or `policy`
            (everything).
        cache: training cache of this phase, where it is not that of the run. Streams and objects
            must be the same; an `action_expert` phase needs no streams.
        privileged_cache, privileged_size: of a policy phase: a second cache, and how many of its
            samples each step adds to those of `batch_size`. These give object poses instead of
            frames, as in an `action_expert` phase. They cost little, and the action expert does not
            forget the many episodes that were recorded without frames.
        steps, batch_size: optimiser steps, samples each (per process).
        groups: parts of a batch, each with its own streams dropped. With late fusion all samples
            of a part lack the same streams, which are then not computed at all.
        draws: (noise, time) pairs per encoded observation.
        learning_rate, warm_up, final: peak; share of the steps until it; share of the peak at the
            end of the cosine.
        learning_rates: start of a parameter's name -> factor on the learning rate.
        weight_decay, clip: of AdamW; largest norm of the gradient.
        trainable: starts of the names of the parameters that train; empty for all.
        lora_rank: adapters on the language model, merged in the end; 0 for none.
        auxiliary: weight of the auxiliary loss beside the actions'.
        distillation: weight of the distance to the tokens of `teacher`'s RGB encoder.
        teacher: folder or hub id of a SmolVLA.
        frozen_views: keep the encoder as it is and its tokens on disk, `frozen_variants` of them
            per sample, each with its own damage.
        state_noise_rad, state_dropout: of the joint state that the policy gets: standard deviation
            of its noise; probability that it is zeroed.
        near_rows: weight of the first rows of a chunk: 1 + near_rows at row 0, falling to 1.
        ema: decay of the averaged weights, which are what is shipped.
        dropout, augment: see there.
    """

    name: str
    kind: str = "policy"
    cache: str = ""
    privileged_cache: str = ""
    privileged_size: int = 32
    steps: int = 1000
    batch_size: int = 48
    groups: int = 4
    draws: int = 8
    learning_rate: float = 5e-4
    warm_up: float = 0.05
    final: float = 0.05
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.02
    clip: float = 1.0
    trainable: tuple[str, ...] = ()
    lora_rank: int = 0
    auxiliary: float = 0.5
    distillation: float = 0.0
    teacher: str = ""
    frozen_views: bool = False
    frozen_variants: int = 4
    state_noise_rad: float = 0.02
    state_dropout: float = 0.1
    near_rows: float = 1.0
    ema: float = 0.999
    dropout: DropoutRecipe = field(default_factory=DropoutRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)

    def __post_init__(self) -> None:
        _need(self.kind in KINDS, "kind", self.kind, " or ".join(KINDS))
        counts = ("steps", "batch_size", "privileged_size", "groups", "draws", "frozen_variants")
        for key in counts:
            _need(getattr(self, key) > 0, key, getattr(self, key), "a positive number")
        for key in ("weight_decay", "lora_rank", "auxiliary", "distillation", "state_noise_rad"):
            _need(getattr(self, key) >= 0, key, getattr(self, key), "0 or more")
        for key in ("warm_up", "final", "state_dropout"):
            _need(0 <= getattr(self, key) <= 1, key, getattr(self, key), "0 to 1")
        _need(0 <= self.ema < 1, "ema", self.ema, "0 to below 1")
        _need(self.learning_rate > 0, "learning_rate", self.learning_rate, "a positive number")
        _need(self.clip > 0, "clip", self.clip, "a positive number")
        _need(
            self.batch_size % self.groups == 0,
            "groups",
            self.groups,
            f"a divisor of batch_size, {self.batch_size}",
        )
        _need(
            not self.privileged_cache or self.kind == "policy",
            "privileged_cache",
            self.privileged_cache,
            f"nothing in a {self.kind} phase",
        )
        schedules = ("curriculum", "fixed", "none")
        dropout = self.dropout
        _need(
            dropout.schedule in schedules,
            "dropout.schedule",
            dropout.schedule,
            ", ".join(schedules),
        )
        for key in ("rate", "soft_share"):
            value = getattr(dropout, key)
            _need(0 <= value <= 1, f"dropout.{key}", value, "0 to 1")
        for name, weight in dropout.alone.items():
            _need(weight > 0, f"dropout.alone.{name}", weight, "a positive number")
        _need(0 < dropout.ramp <= 1, "dropout.ramp", dropout.ramp, "above 0 and up to 1")
        _need(not self.distillation or bool(self.teacher), "teacher", self.teacher, "a checkpoint")
        _need(
            not (self.frozen_views and (self.auxiliary or self.distillation)),
            "frozen_views",
            self.frozen_views,
            "auxiliary: 0 and distillation: 0, because the encoder is frozen",
        )


@dataclass(frozen=True)
class Recipe:
    """A whole run.

    Attributes:
        phases: one after another, each from the averaged weights of the one before.
        relative_joints: joints whose actions are offsets from the measured state; None for all but
            the grippers.
        object_tokens: the model estimates where the objects of the data are and reads it as tokens.
        seed: of everything that is drawn.
        save_minutes: time between two saved states.
        validate_steps: steps between two scores on held-out episodes; 0 for none.
        validate_samples: samples of such a score.
    """

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    phases: tuple[PhaseRecipe, ...] = ()
    relative_joints: tuple[str, ...] | None = None
    object_tokens: bool = True
    seed: int = 0
    save_minutes: float = 5.0
    validate_steps: int = 250
    validate_samples: int = 96

    def __post_init__(self) -> None:
        _need(len(self.phases) > 0, "phases", self.phases, "at least one phase")
        names = [phase.name for phase in self.phases]
        _need(len(set(names)) == len(names), "phases", names, "different names")


def relative_joints(recipe: Recipe, arm: Embodiment) -> tuple[str, ...]:
    """Those of the recipe; else all joints but the grippers, none where actions are no joints.

    The measured angle of a gripper says what it holds and not what was commanded: its targets stay
    angles.
    """
    if recipe.relative_joints is not None:
        return recipe.relative_joints
    if not arm.commands_joints:
        return ()
    return tuple(name for name in arm.joint_names if name not in arm.gripper_joints)


def _need(condition: bool, key: str, value: object, expected: str) -> None:
    if not condition:
        raise RecipeError(f"{key} is {value!r}; expected {expected}")
