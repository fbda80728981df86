"""Privileged targets of a sample: what perception should estimate from the frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from multismolvla.embodiment.kinematics import Kinematics
from multismolvla.modalities.segmentation import LABELS
from multismolvla.policy.gripper_frame import CENTRE_M, SCALE_M
from multismolvla.sim.grasp import GripperPose
from multismolvla.sim.layout import SHAPES, rotation_of

# An axis whose vertical part is larger than this has no heading worth the name.
UPRIGHT = 0.7


@dataclass(frozen=True)
class AuxiliaryTargets:
    """B samples, n objects, V views of T tokens, L labels.

    Attributes:
        positions: (B, n, 3) of the objects in base_link, centred, in units of `SCALE_M`; NaN where
            unknown.
        headings: (B, n, 2) cosine and sine of the heading times the object's symmetry; NaN where
            there is none: of round objects and of unknown ones.
        gripper: (B, 3) grip point, likewise; NaN without kinematics.
        joints: (B, J) radians.
        held: (B,) int64 object in the gripper, n for none.
        labels: (B, V, T, L) shares of the labels within each token's part of the frame; NaN
            where there is no segmentation.
    """

    positions: Tensor
    headings: Tensor
    gripper: Tensor
    joints: Tensor
    held: Tensor
    labels: Tensor


def auxiliary_targets(
    state: np.ndarray,
    kinematics: Kinematics | None,
    poses: np.ndarray,
    objects: Sequence[str],
    labels: Tensor,
) -> AuxiliaryTargets:
    """From joints (B, J), poses (B, n, 7) in the order of `objects`, and label shares.

    What is held is known of the simulated table's arm alone, which is the one that has objects.
    """
    joints = state.astype(np.float64)
    grips = np.full((len(state), 3), np.nan)
    if kinematics is not None:
        grips = np.stack([kinematics.forward(row)[0] for row in joints])
    positions = (poses[..., :3] - np.array(CENTRE_M)) / SCALE_M
    grips = (grips - np.array(CENTRE_M)) / SCALE_M
    headings = np.full((*poses.shape[:2], 2), np.nan)
    held = np.full(len(state), len(objects))
    for sample, row in enumerate(joints if objects else ()):
        gripper = GripperPose.at(row)
        for index, name in enumerate(objects):
            pose = poses[sample, index].astype(np.float64)
            if name not in SHAPES or not np.isfinite(pose).all():
                continue
            headings[sample, index] = _heading(name, pose)
            if gripper.holds(name, pose):
                held[sample] = index
    return AuxiliaryTargets(
        torch.from_numpy(positions).float(),
        torch.from_numpy(headings).float(),
        torch.from_numpy(grips).float(),
        torch.from_numpy(state).float(),
        torch.from_numpy(held),
        labels,
    )


def _heading(name: str, pose: np.ndarray) -> tuple[float, float]:
    """Heading of the first axis, or of the second where the first stands upright, times how often
    the shape looks the same in a turn."""
    shape = SHAPES[name]
    if shape.round:
        return (math.nan, math.nan)
    rotation = rotation_of(pose)
    # Not the flatter one: for a flat brick rounding would decide.
    flat = 0 if abs(rotation[2, 0]) < UPRIGHT else 1
    symmetry = 4 if shape.half[0] == shape.half[1] else 2
    angle = symmetry * math.atan2(rotation[1, flat], rotation[0, flat])
    return (math.cos(angle), math.sin(angle))


def label_shares(
    labels: Mapping[str, np.ndarray], views: Sequence[str], side: int, batch: int
) -> Tensor:
    """Shares (B, V, side^2, L) of the labels in each cell of the labelled views (B, H, W)."""
    shares = torch.full((batch, len(views), side * side, len(LABELS)), math.nan)
    for view, images in labels.items():
        known = torch.from_numpy(images.astype(np.int64)).clamp(max=len(LABELS) - 1)
        one_hot = functional.one_hot(known, len(LABELS)).movedim(-1, 1).float()
        cells = functional.adaptive_avg_pool2d(one_hot, side)
        shares[:, views.index(view)] = cells.flatten(2).transpose(1, 2)
    return shares
