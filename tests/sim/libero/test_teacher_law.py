"""The teacher's law without a simulator: what it does with a plan, and what it imagines of it."""

import dataclasses

import numpy as np
import pytest

from multismolvla.sim.libero.teacher.law import (
    DOWN,
    OPEN_M,
    PERIOD_S,
    Plan,
    _spring,
    act,
    imagine,
    matrix,
    pose,
    rotation_of,
    turn_between,
)

DOWNWARDS = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
OPEN, STILL = np.array([0.039, -0.039]), np.zeros(6)


def reach(grasp=(0.1, 0.2, 0.95), place=(-0.1, 0.25, 1.0), **changes) -> Plan:
    plan = Plan(
        stage="grasp",
        grasp=pose(np.array(grasp), DOWNWARDS),
        place=pose(np.array(place), DOWNWARDS),
        held=False,
        approach=DOWN,
        descent=DOWN,
        hover_m=1.1,
        width_m=0.04,
    )
    return dataclasses.replace(plan, **changes)


def fingers(opening: float) -> np.ndarray:
    return np.array([opening / 2, -opening / 2])


def followed(plan, position, rotation, opening, steps):
    """Grip points (steps, 3) of the law on the controller's model, with one plan throughout."""
    speed, spin, path = np.zeros(3), np.zeros(3), []
    for _ in range(steps):
        action = act(plan, position, rotation, fingers(opening))
        moved, speed = _spring(0.05 * action[:3], speed)
        turned, spin = _spring(0.5 * action[3:6], spin)
        position, rotation = position + moved, rotation_of(turned) @ rotation
        path.append(position)
    return np.array(path), rotation


def test_actions_are_within_the_arms_limits_and_fast_where_it_is_free():
    action = act(reach(), np.array([-0.3, -0.2, 1.2]), DOWNWARDS, OPEN)
    assert action.shape == (7,)
    assert np.abs(action).max() == pytest.approx(1.0)
    assert action[6] == -1.0


def test_it_reaches_the_grasp_from_anywhere_above_and_closes_there_alone():
    rng = np.random.default_rng(0)
    for _ in range(5):
        start = np.array([0.0, 0.0, 1.2]) + rng.uniform(-0.2, 0.2, 3)
        turned = rotation_of(rng.uniform(-0.5, 0.5, 3)) @ DOWNWARDS
        assert act(reach(), start, turned, OPEN)[6] == -1.0
        path, rotation = followed(reach(), start, turned, OPEN_M, 120)
        assert path[-1] == pytest.approx(reach().grasp[:3], abs=2e-3)
        assert np.linalg.norm(turn_between(rotation, DOWNWARDS)) < 0.02
        assert act(reach(), path[-1], rotation, OPEN)[6] == 1.0


def test_it_does_not_come_down_beside_what_it_passes():
    path, _ = followed(reach(), np.array([-0.2, -0.2, 1.15]), DOWNWARDS, OPEN_M, 120)
    aside = np.linalg.norm(path[:, :2] - reach().grasp[:2], axis=1)
    assert path[aside > 0.06, 2].min() > reach().hover_m - 0.03


def test_from_below_it_rises_before_it_goes_sideways():
    start = np.array([-0.2, 0.0, 0.95])
    action = act(reach(), start, DOWNWARDS, OPEN)
    assert action[2] == 1.0
    assert np.abs(action[:2]).max() < 1e-9


def test_fingers_that_missed_open_again_and_leave():
    plan = reach()
    action = act(plan, plan.grasp[:3], DOWNWARDS, fingers(0.001))
    assert action[6] == -1.0
    assert action[2] > 0.5


def test_fingers_that_close_do_not_change_their_mind_over_a_small_slip():
    plan = reach()
    slipped = plan.grasp[:3] + np.array([0.012, 0.0, 0.0])
    assert act(plan, slipped, DOWNWARDS, OPEN)[6] == -1.0
    assert act(plan, slipped, DOWNWARDS, fingers(0.06))[6] == 1.0


def test_what_is_held_is_let_go_of_at_its_place_alone():
    plan = reach(stage="carry", held=True)
    assert act(plan, np.array([0.1, 0.2, 1.1]), DOWNWARDS, fingers(0.04))[6] == 1.0
    assert act(plan, plan.place[:3], DOWNWARDS, fingers(0.04))[6] == -1.0
    # Half open and pushed aside a little, it goes on opening.
    assert act(plan, plan.place[:3] + np.array([0.02, 0, 0]), DOWNWARDS, fingers(0.05))[6] == -1.0


def test_nothing_moves_when_all_is_done():
    action = act(reach(stage="done"), np.zeros(3), DOWNWARDS, OPEN)
    assert action.tolist() == [0, 0, 0, 0, 0, 0, -1]


def test_it_leaves_only_with_open_fingers():
    plan = reach(stage="leave", place=(0.0, 0.0, 1.2), width_m=0.04)
    assert np.abs(act(plan, np.array([0, 0, 1.0]), DOWNWARDS, fingers(0.04))[:3]).max() == 0.0
    assert act(plan, np.array([0, 0, 1.0]), DOWNWARDS, OPEN)[2] == 1.0


def test_a_sideways_grasp_is_entered_along_its_approach():
    approach = np.array([0.0, -1.0, 0.0])
    sideways = rotation_of(np.array([-np.pi / 2, 0.0, 0.0])) @ DOWNWARDS
    plan = reach(approach=approach, grasp=(0.0, -0.1, 1.0), moves=True)
    plan = dataclasses.replace(plan, grasp=pose(plan.grasp[:3], sideways))
    path, _ = followed(plan, np.array([-0.2, 0.1, 1.2]), DOWNWARDS, OPEN_M, 150)
    assert path[-1] == pytest.approx(plan.grasp[:3], abs=3e-3)
    near = path[path[:, 1] < -0.03]
    assert np.abs(near[:, [0, 2]] - plan.grasp[[0, 2]]).max() < 0.03


def test_a_door_is_followed_around_its_hinge():
    anchor, radius = np.array([0.0, 0.0, 1.0]), 0.2
    start, end = np.array([radius, 0, 1.0]), np.array([0, radius, 1.0])
    plan = reach(
        stage="move",
        grasp=start,
        place=end,
        held=True,
        moves=True,
        push=True,
        pivot=np.array([*anchor, 0.0, 0.0, 1.0]),
    )
    path, _ = followed(plan, start, DOWNWARDS, 0.0, 80)
    assert path[-1] == pytest.approx(end, abs=3e-3)
    assert np.abs(np.linalg.norm(path - anchor, axis=1) - radius).max() < 0.03


def test_the_first_imagined_action_is_the_one_for_now():
    position, rotation = np.array([-0.1, 0.0, 1.2]), rotation_of(np.array([0, 0, 0.3])) @ DOWNWARDS
    actions = imagine(reach(), position, rotation, STILL, OPEN, 16)
    assert actions.shape == (16, 7)
    assert actions[0] == pytest.approx(act(reach(), position, rotation, OPEN))


def test_imagination_grasps_carries_lets_go_and_leaves():
    plan = reach()
    start = plan.grasp[:3] + np.array([0.0, 0.0, 0.05])
    actions = imagine(plan, start, DOWNWARDS, STILL, OPEN, 120)
    closed = actions[:, 6] > 0
    first, last = np.flatnonzero(closed)[[0, -1]]
    assert 3 < first < 20
    assert closed[first : last + 1].all()
    assert 20 < last < 110
    assert actions[first + 14 : first + 18, 2].max() > 0.5
    assert np.abs(actions[-1, :6]).max() < 0.2 or actions[-1, 2] > 0


def test_imagination_goes_on_with_the_next_subgoal():
    other = reach(grasp=(0.3, -0.3, 0.95))
    plan = reach(stage="carry", held=True, then=other)
    actions = imagine(plan, plan.place[:3].copy(), DOWNWARDS, STILL, fingers(0.04), 40)
    assert actions[0, 6] == -1.0
    assert actions[-5:, 0].min() > 0.5


def test_a_steady_command_is_as_fast_as_the_controller_makes_it():
    speed = np.zeros(3)
    for _ in range(30):
        moved, speed = _spring(np.array([0.05, 0.0, 0.0]), speed)
    # Measured in the simulator: 13 mm a step.
    assert moved[0] == pytest.approx(0.013, abs=4e-4)
    assert speed[0] == pytest.approx(moved[0] / PERIOD_S, rel=0.06)


def test_turns_are_the_shortest():
    turned = rotation_of(np.array([0.0, 0.0, 0.4])) @ DOWNWARDS
    assert turn_between(DOWNWARDS, turned) == pytest.approx([0.0, 0.0, 0.4])
    assert matrix(pose(np.zeros(3), turned)) == pytest.approx(turned)
