"""Scores on held-out episodes: with all streams, with each kind lost, or on poses alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch

from multismolvla.policy.model import MultiSmolVLA, Prefix
from multismolvla.policy.normalization import Normalizer
from multismolvla.training.policy.batches import BatchMaker, Group
from multismolvla.training.policy.objective import Objective
from multismolvla.training.policy.privileged_reading import read_privileged
from multismolvla.training.policy.recipe import AugmentRecipe, DropoutRecipe, PhaseRecipe

# The rows that an arm follows before the next chunk is there.
ROWS = 15
UNVARIED = AugmentRecipe(colour=0, texture=0, shift_px=0, depth_m=0, thermal_c=0, labels=0)


def unvaried(phase: PhaseRecipe, samples: int) -> PhaseRecipe:
    """The phase's batches without chance: one group of `samples`."""
    return dataclasses.replace(
        phase,
        batch_size=samples,
        groups=1,
        draws=1,
        state_noise_rad=0.0,
        state_dropout=0.0,
        frozen_views=False,
        dropout=DropoutRecipe(schedule="none"),
        augment=UNVARIED,
        distillation=0.0,
    )


class Validation:
    """Scores on the same samples each time.

    Args:
        maker: of `unvaried` batches of held-out samples.
    """

    def __init__(self, maker: BatchMaker, normalizer: Normalizer, seed: int) -> None:
        self._group = maker.make(0)[0]
        self._normalizer = normalizer
        self._seed = seed

    @torch.no_grad()
    def score(self, objective: Objective, device: torch.device) -> dict[str, float]:
        """`action_rad` (mean error of the first rows) or `object_mm`, per condition.

        Conditions: `clean`, and `no_rgb` and so on, in which that kind is lost in all views. An
        `action_expert` phase, which has no frames, has `privileged` alone.
        """
        streams = objective.model.config.streams
        kinds = list(dict.fromkeys(stream.kind for stream in streams))
        conditions = {"clean": np.zeros(len(streams), bool)}
        if self._group.scene is not None:
            conditions = {"privileged": np.zeros(len(streams), bool)}
        elif len(kinds) > 1:
            for kind in kinds:
                conditions[f"no_{kind}"] = np.array([s.kind == kind for s in streams])
        training = objective.training
        objective.eval()
        scores: dict[str, float] = {}
        for name, lost in conditions.items():
            group = self._without(lost).to(device)
            scores |= {f"{key}/{name}": v for key, v in self._score(objective, group).items()}
        objective.train(training)
        return scores

    def _without(self, lost: np.ndarray) -> Group:
        mask = self._group.mask & ~torch.from_numpy(lost)
        return dataclasses.replace(self._group, mask=mask)

    def _score(self, objective: Objective, group: Group) -> Mapping[str, float]:
        model, scores = objective.model, {}
        language = (group.language, group.language_mask)
        if group.scene is not None:
            prefix = read_privileged(model, group.scene, group.mask, *language, group.state)
            return {"action_rad": self._action_rad(model, group, prefix)}
        views, present = model.visual(group.frames, group.mask)
        estimate = None
        if group.targets is not None:
            if model.config.objects:
                estimate = model.object_tokens.estimate(views, present, group.state, *language)
            _, metrics = objective.heads(views, present, estimate, group.targets)
            wanted = ("object_mm", "gripper_mm", "held")
            scores = {key: float(metrics[key]) for key in wanted if key in metrics}
        if group.noise.shape[1]:
            prefix = model.read(
                views, present, group.mask, *language, group.state, estimate=estimate
            )
            scores["action_rad"] = self._action_rad(model, group, prefix)
        return scores

    def _action_rad(self, model: MultiSmolVLA, group: Group, prefix: Prefix) -> float:
        """Mean error of the first rows, radians where actions are joint targets."""
        joints = group.joints.cpu()
        found = model.sample(prefix, group.noise[:, 0]).cpu()
        found = self._normalizer.unnormalize_action(found, joints)
        wanted = self._normalizer.unnormalize_action(group.actions.cpu(), joints)
        return float((found - wanted)[:, :ROWS].abs().mean())
