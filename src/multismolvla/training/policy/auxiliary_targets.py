"""Privileged targets of a sample: what perception should estimate from the frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from multismolvla.embodiment.kinematics import Kinematics
from multismolvla.modalities.segmentation import LABELS
from multismolvla.policy.gripper_frame import SCALE_M
from multismolvla.sim.grasp import GripperPose
from multismolvla.sim.layout import SHAPES, rotation_of
from multismolvla.sim.libero import subgoal

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
        tokens: (B, n, V) int64 the token in whose part of the frame the object's position lies, -1
            where it is outside of the frame or nobody knows the camera.
    """

    positions: Tensor
    headings: Tensor
    gripper: Tensor
    joints: Tensor
    held: Tensor
    labels: Tensor
    tokens: Tensor


def auxiliary_targets(
    state: np.ndarray,
    kinematics: Kinematics | None,
    poses: np.ndarray,
    objects: Sequence[str],
    labels: Tensor,
    cameras: np.ndarray | None = None,
) -> AuxiliaryTargets:
    """From states (B, J), poses (B, n, 7) in the order of `objects`, and label shares.

    What is held is known of two kinds of objects: the tabletop's, and a subgoal of LIBERO.

    Args:
        cameras: (B, V, 10) of the views, see `data.view_camera`; NaN where unknown.
    """
    joints = state.astype(np.float64)
    grips, turns = np.full((len(state), 3), np.nan), np.full((len(state), 3, 3), np.nan)
    centre = np.zeros(3)
    if kinematics is not None:
        for row, values in enumerate(joints):
            grips[row], turns[row] = kinematics.forward(values)
        centre = np.array(kinematics.centre_m)
    headings = np.full((*poses.shape[:2], 2), np.nan)
    held = np.full(len(state), len(objects))
    for sample, row in enumerate(joints if objects else ()):
        for index, name in enumerate(objects):
            pose = poses[sample, index].astype(np.float64)
            if np.isfinite(pose).all() and name in KNOWLEDGE:
                heading_of, holds = KNOWLEDGE[name]
                headings[sample, index] = heading_of(name, pose)
                if holds(name, row, pose):
                    held[sample] = index
    side = round(labels.shape[2] ** 0.5)
    tokens = np.full((*poses.shape[:2], labels.shape[1]), -1)
    if cameras is not None and side:
        tokens = seen_at(poses[..., :3].astype(np.float64), grips, turns, cameras, side)
    positions, grips = (poses[..., :3] - centre) / SCALE_M, (grips - centre) / SCALE_M
    return AuxiliaryTargets(
        torch.from_numpy(positions).float(),
        torch.from_numpy(headings).float(),
        torch.from_numpy(grips).float(),
        torch.from_numpy(state).float(),
        torch.from_numpy(held),
        labels,
        torch.from_numpy(tokens),
    )


def seen_at(
    places: np.ndarray, grips: np.ndarray, turns: np.ndarray, cameras: np.ndarray, side: int
) -> np.ndarray:
    """Token (B, n, V) int64, of side x side in a frame, in which each place is seen; -1 outside.

    Args:
        places: (B, n, 3) in the base frame, metres.
        grips, turns: (B, 3) and (B, 3, 3) of the gripper, for cameras that move with it.
        cameras: (B, V, 10), see `data.view_camera`.
    """
    tokens = np.full((*places.shape[:2], cameras.shape[1]), -1)
    for sample, view in np.ndindex(cameras.shape[:2]):
        fovy, mirrored, on_gripper = cameras[sample, view, [0, 1, 2]]
        position, rotation = cameras[sample, view, 3:6], rotation_of(cameras[sample, view, 3:])
        if not np.isfinite(fovy):
            continue
        if on_gripper:
            position = grips[sample] + turns[sample] @ position
            rotation = turns[sample] @ rotation
        # A camera looks along its -z, x to the right and y up.
        x, y, z = ((places[sample] - position) @ rotation).T
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = -z * 2.0 * math.tan(math.radians(fovy) / 2.0)
            column, row = 0.5 + x / reach, 0.5 - y / reach
        if mirrored:
            column = 1.0 - column
        inside = (z < 0) & (abs(column - 0.5) < 0.5) & (abs(row - 0.5) < 0.5)
        column, row = np.where(inside, column, 0.0), np.where(inside, row, 0.0)
        cell = (row * side).astype(int) * side + (column * side).astype(int)
        tokens[sample, :, view] = np.where(inside, cell, -1)
    return tokens


def _shape_heading(name: str, pose: np.ndarray) -> tuple[float, float]:
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


def _gripper_holds(name: str, state: np.ndarray, pose: np.ndarray) -> bool:
    return GripperPose.at(state).holds(name, pose)


# Object -> its heading (name, pose), and whether it is held (name, state, pose).
Heading = Callable[[str, np.ndarray], tuple[float, float]]
Holds = Callable[[str, np.ndarray, np.ndarray], bool]
KNOWLEDGE: dict[str, tuple[Heading, Holds]] = {
    **dict.fromkeys(SHAPES, (_shape_heading, _gripper_holds)),
    "grasp": (
        lambda name, pose: subgoal.heading(pose),
        lambda name, state, pose: subgoal.held(state, pose),
    ),
    "place": (lambda name, pose: subgoal.heading(pose), lambda name, state, pose: False),
}


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
