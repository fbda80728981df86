"""Privileged poses as an estimate of good perception: with errors, and with their expected size.

With it language model and action expert learn to act without encoding any frame, several times as
fast. Perception then only has to learn where things are.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from multismolvla.policy.gripper_frame import SCALE_M
from multismolvla.policy.object_tokens import LOG_LEAST, LOG_MOST, Estimate
from multismolvla.training.policy.auxiliary_targets import AuxiliaryTargets

# Expected error of a position, metres, from good perception to nearly none; mostly small.
ERROR_M = (0.0015, 0.02)
# Of a logit of being held, and of a number that means nothing, such as a round object's heading.
HELD_LOGIT, MEANINGLESS = 4.0, 0.5
HEADING_ERROR, GRIPPER_ERROR = 0.1, 0.02
# Perception that cannot see a heading gives the mean of the possible ones, which is shorter.
VAGUE_HEADINGS = 0.4


def known_scene(rng: np.random.Generator, targets: AuxiliaryTargets) -> Estimate:
    """Estimates of B samples; where they looked is empty, (B, n + 1, 0, 0)."""
    batch, count = targets.positions.shape[:2]

    def noise(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    least, most = (math.log(error / SCALE_M) for error in ERROR_M)
    unsure = torch.from_numpy(rng.uniform(0.0, 1.0, (batch, count, 1)).astype(np.float32) ** 2)
    unsure = (least + (most - least) * unsure).clamp(LOG_LEAST, LOG_MOST)
    laplace = torch.from_numpy(rng.laplace(size=(batch, count, 3)).astype(np.float32))
    places = targets.positions + unsure.exp() * laplace
    vague = rng.random((batch, count, 1)) < VAGUE_HEADINGS
    known = np.where(vague, rng.random((batch, count, 1)), 1.0).astype(np.float32)
    headings = targets.headings * torch.from_numpy(known) + HEADING_ERROR * noise(batch, count, 2)
    held = torch.nn.functional.one_hot(targets.held, count + 1).float()
    held = (2.0 * held - 1.0) * HELD_LOGIT + noise(batch, count + 1)
    objects = torch.cat((places, headings, held[:, :-1, None], unsure), dim=-1)
    objects = torch.where(objects.isfinite(), objects, MEANINGLESS * noise(*objects.shape))
    gripper = torch.cat((targets.gripper, targets.joints), dim=1)
    gripper = torch.cat((gripper + GRIPPER_ERROR * noise(*gripper.shape), held[:, -1:]), dim=1)
    return Estimate(objects, gripper, objects.new_zeros(batch, count + 1, 0, 0))
