"""The teacher in LIBERO itself."""

import itertools

import numpy as np
import pytest

from multismolvla.sim.libero.teacher import Teacher, act
from multismolvla.sim.libero.teacher.law import roll


@pytest.fixture(scope="module")
def episode(libero_world):
    """One episode, and every fourth step the grip points that the teacher imagined."""
    world, teacher = libero_world, Teacher(libero_world)
    world.reset("object/1", 1)
    teacher.reset()
    record = {"plans": [], "path": [], "actions": [], "imagined": {}, "success": False}
    while world.steps < 140 and not record["success"]:
        plan = teacher.plan()
        position, rotation = world.gripper_pose()
        fingers = world.state()[6:]
        if world.steps % 4 == 0:
            velocity = world.gripper_velocity()
            record["imagined"][world.steps] = roll(plan, position, rotation, velocity, fingers, 16)
        record["plans"].append(plan)
        action = act(plan, position, rotation, fingers)
        record["path"].append(position)
        record["actions"].append(action)
        world.step(action)
        record["success"] = world.success()
    return record


def test_it_brings_the_thing_to_its_place(episode):
    assert episode["success"]
    stages = [plan.stage for plan in episode["plans"]]
    assert stages[0] == "grasp"
    assert stages[-1] == "carry"
    # It took hold of it once, and kept it.
    assert sum(a != b for a, b in itertools.pairwise(stages)) == 1


def test_it_plans_the_same_from_the_same_state(libero_world):
    libero_world.reset("object/1", 1)
    first = Teacher(libero_world).plan()
    teacher = Teacher(libero_world)
    teacher.plan()
    again = teacher.plan()
    np.testing.assert_array_equal(first.grasp, again.grasp)
    np.testing.assert_array_equal(first.place, again.place)


def test_the_poses_are_those_where_fingers_close_and_open(episode):
    plans = episode["plans"]
    taken = next(k for k, plan in enumerate(plans) if plan.held)
    assert plans[0].grasp[:3] == pytest.approx(plans[taken].grasp[:3], abs=0.01)
    assert plans[0].place[:3] == pytest.approx(plans[-1].place[:3], abs=0.02)


def test_the_imagined_path_is_the_one_that_it_takes(episode):
    """16 steps ahead, wherever the stage stays the same: the controller's model is good enough."""
    ends, gripper = [], []
    for begin, (actions, path) in episode["imagined"].items():
        real = np.array(episode["path"][begin : begin + 16])
        stages = {plan.stage for plan in episode["plans"][begin : begin + 16]}
        if len(real) == 16 and len(stages) == 1:
            ends.append(np.linalg.norm(real - path, axis=1).max())
            taken = np.array(episode["actions"][begin : begin + 16])
            gripper.append(np.mean(taken[:, 6] == actions[:, 6]))
    assert len(ends) > 5
    assert np.median(ends) < 0.015
    # Where the hand meets something, the imagination goes on without it.
    assert np.quantile(ends, 0.8) < 0.03
    assert np.mean(gripper) > 0.9
