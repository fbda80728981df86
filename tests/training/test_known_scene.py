"""Estimates that are as good as they say."""

import math

import numpy as np
import torch

from multismolvla.embodiment.so101 import KINEMATICS
from multismolvla.sim.grasp import GripperPose
from multismolvla.sim.layout import SHAPES
from multismolvla.training.policy.auxiliary_targets import auxiliary_targets
from multismolvla.training.policy.known_scene import known_scene

JOINTS = np.tile([0.1, -0.5, 0.6, 1.2, 0.0, 0.4], (400, 1)).astype(np.float32)


def targets(count: int = 400):
    poses = np.zeros((count, len(SHAPES), 7), np.float32)
    poses[..., 3] = 1.0
    poses[..., 0] = 0.3
    return auxiliary_targets(
        JOINTS[:count], KINEMATICS, poses, tuple(SHAPES), torch.zeros(count, 1, 1, 9)
    )


def test_the_error_is_as_large_as_is_said():
    truth = targets()
    found = known_scene(np.random.default_rng(0), truth)
    said = found.objects[..., 6:].exp()
    error = (found.objects[..., :3] - truth.positions).abs()
    assert math.isclose(float((error / said).mean()), 1.0, rel_tol=0.05)
    assert all(part.isfinite().all() for part in (found.objects, found.gripper))


def test_an_object_looks_the_same_after_its_symmetry():
    poses = np.zeros((2, len(SHAPES), 7), np.float32)
    poses[..., 3] = 1.0
    poses[1, :, 3:] = [math.cos(math.pi / 4), 0, 0, math.sin(math.pi / 4)]  # a quarter turn
    one, two = auxiliary_targets(
        JOINTS[:2], KINEMATICS, poses, tuple(SHAPES), torch.zeros(2, 1, 1, 9)
    ).headings
    names = list(SHAPES)
    cube, cylinder, brick = map(names.index, ("red_cube", "blue_cylinder", "green_brick"))
    torch.testing.assert_close(one[cube], two[cube], atol=1e-5, rtol=0)
    torch.testing.assert_close(one[brick], -two[brick], atol=1e-5, rtol=0)
    assert one[cylinder].isnan().all()


def test_what_is_between_closed_fingers_is_held():
    poses = np.zeros((1, len(SHAPES), 7), np.float32)
    poses[..., 3] = 1.0
    closed = JOINTS[:1].copy()
    closed[0, 5] = 0.2
    names = tuple(SHAPES)
    poses[0, names.index("red_cube"), :3] = GripperPose.at(closed[0].astype(float)).middle
    held = auxiliary_targets(closed, KINEMATICS, poses, names, torch.zeros(1, 1, 1, 9)).held
    assert held.tolist() == [names.index("red_cube")]


def test_a_hair_does_not_turn_the_heading_of_a_brick():
    """Both of its axes lie flat: a tilt too small to see must not choose another one."""
    poses = np.zeros((2, len(SHAPES), 7), np.float32)
    tilt = 1e-3
    poses[0, :, 3:] = [1.0, tilt, 0.0, 0.0]
    poses[1, :, 3:] = [1.0, 0.0, tilt, 0.0]
    headings = auxiliary_targets(
        JOINTS[:2], KINEMATICS, poses, tuple(SHAPES), torch.zeros(2, 1, 1, 9)
    ).headings
    brick = list(SHAPES).index("green_brick")
    torch.testing.assert_close(headings[0, brick], headings[1, brick], atol=1e-2, rtol=0)
