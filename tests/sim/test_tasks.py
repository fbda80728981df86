"""Tasks are found, placed and judged as their instructions say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.sim.goals import Goal, Scene
from multismolvla.sim.layout import BIN_CENTRE, PLATE_CENTRE, SHAPES
from multismolvla.sim.tasks import TASKS, find_task, place_objects


def pose(x, y, z):
    return np.array([x, y, z, 1.0, 0.0, 0.0, 0.0])


def shifted(pose, x=0.0, y=0.0, z=0.0):
    return pose + np.array([x, y, z, 0.0, 0.0, 0.0, 0.0])


def scene(touched=(), speed=0.0, **poses):
    everywhere = {
        "red_cube": pose(0.20, 0.00, 0.015),
        "blue_cylinder": pose(0.20, 0.08, 0.030),
        "green_brick": pose(0.25, -0.08, 0.009),
    } | poses
    return Scene(everywhere, dict.fromkeys(SHAPES, speed), frozenset(touched))


IN_BIN = pose(*BIN_CENTRE, 0.019)
ON_PLATE = pose(*PLATE_CENTRE, 0.021)


def test_there_are_four_suites_of_three_tasks():
    suites = [task.suite for task in TASKS]
    assert {suite: suites.count(suite) for suite in suites} == {
        "spatial": 3,
        "object": 3,
        "goal": 3,
        "long": 3,
    }
    assert len({task.instruction for task in TASKS}) == 12


@pytest.mark.parametrize("text", ["red_cube_in_bin", "  Put the RED cube in the bin "])
def test_a_task_is_found_by_id_and_by_instruction(text):
    assert find_task(text).instruction == "put the red cube in the bin"


def test_an_unknown_task_names_the_closest_ones():
    with pytest.raises(ValueError, match="put the red cube in the bin") as caught:
        find_task("put the red cub in a bin")
    assert "\n" not in str(caught.value)


def test_a_task_unlike_any_other_lists_what_there_is():
    with pytest.raises(ValueError, match="all_in_bin"):
        find_task("zzzz")


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(TASKS), st.integers(0, 2**31 - 1))
def test_placement_is_seeded_and_leaves_room(task, seed):
    poses = task.place(seed)
    again = task.place(seed)
    for name in SHAPES:
        np.testing.assert_array_equal(poses[name], again[name])
    places = [pose[:2] for pose in poses.values()]
    for index, place in enumerate(places):
        assert math.dist(place, BIN_CENTRE) > 0.09
        assert math.dist(place, PLATE_CENTRE) > 0.09
        assert all(math.dist(place, other) > 0.07 for other in places[index + 1 :])
    assert not any(goal.reached(poses) for goal in task.bind(poses))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(TASKS[:3]), st.integers(0, 2**31 - 1))
def test_the_object_that_a_relation_means_stands_out(task, seed):
    poses = task.place(seed)
    first, second = sorted(task.measure(pose) for pose in poses.values())[:2]
    assert second - first > 0.025
    (goal,) = task.bind(poses)
    assert task.measure(poses[goal.name]) == first


def test_a_condition_that_nothing_meets_is_reported():
    with pytest.raises(RuntimeError, match="no acceptable placement"):
        place_objects(np.random.default_rng(0), lambda poses: False)


def test_in_the_bin_means_inside_still_and_let_go():
    goal = Goal("red_cube", "bin")
    assert goal.satisfied(scene(red_cube=IN_BIN))
    assert not goal.satisfied(scene())
    assert not goal.satisfied(scene(red_cube=IN_BIN, touched=["red_cube"]))
    assert not goal.satisfied(scene(red_cube=IN_BIN, speed=0.1))
    assert not goal.satisfied(scene(red_cube=shifted(IN_BIN, z=0.08)))
    assert not goal.satisfied(scene(red_cube=shifted(IN_BIN, x=0.07)))


def test_on_the_plate_means_resting_on_it():
    goal = Goal("red_cube", "plate")
    assert goal.satisfied(scene(red_cube=ON_PLATE))
    assert not goal.satisfied(scene(red_cube=shifted(ON_PLATE, z=0.03)))
    assert not goal.satisfied(scene(red_cube=shifted(ON_PLATE, y=0.07)))


def test_stacked_means_centred_and_resting_on_top():
    goal = Goal("red_cube", "on", "green_brick")
    assert goal.satisfied(scene(red_cube=pose(0.25, -0.08, 0.033)))
    assert not goal.satisfied(scene(red_cube=pose(0.25, -0.08, 0.050)))
    assert not goal.satisfied(scene(red_cube=pose(0.25, -0.05, 0.033)))
    assert not goal.satisfied(scene(red_cube=pose(0.25, -0.08, 0.015)))


def test_beside_means_close_on_the_table():
    goal = Goal("red_cube", "beside", "blue_cylinder")
    assert goal.satisfied(scene(red_cube=pose(0.20, 0.03, 0.015)))
    assert not goal.satisfied(scene(red_cube=pose(0.20, -0.01, 0.015)))
    assert not goal.satisfied(scene(red_cube=pose(0.20, 0.03, 0.050)))


@pytest.mark.parametrize(
    ("task_id", "meant"),
    [
        ("nearest_plate_in_bin", "green_brick"),
        ("farthest_on_plate", "green_brick"),
        ("leftmost_on_plate", "blue_cylinder"),
    ],
)
def test_a_relation_picks_its_object(task_id, meant):
    poses = scene(green_brick=pose(0.25, -0.06, 0.009)).poses
    assert [goal.name for goal in find_task(task_id).bind(poses)] == [meant]


def test_an_object_already_in_place_is_the_one_that_was_meant():
    poses = scene(red_cube=ON_PLATE).poses
    assert find_task("leftmost_on_plate").bind(poses)[0].name == "red_cube"


def test_a_long_task_needs_all_of_its_stages():
    goals = find_task("brick_on_plate_cube_in_bin").goals
    half_done = scene(red_cube=IN_BIN)
    done = scene(red_cube=IN_BIN, green_brick=pose(*PLATE_CENTRE, 0.015))
    assert [goal.satisfied(half_done) for goal in goals] == [False, True]
    assert all(goal.satisfied(done) for goal in goals)
