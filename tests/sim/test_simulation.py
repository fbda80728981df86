"""The simulated table: seeded, consistent with the layout, and free of the arm's own collisions."""

import mujoco
import numpy as np
import pytest

from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.segmentation import LABELS
from multismolvla.sim.labels import label_of_geom, temperature_of_geom
from multismolvla.sim.layout import (
    BIN_CENTRE,
    BIN_FLOOR,
    BIN_INNER_HALF,
    BIN_RIM,
    PLATE_CENTRE,
    PLATE_RADIUS,
    PLATE_TOP,
    SHAPES,
    half_height,
)
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import TASKS


@pytest.fixture(scope="module")
def simulation():
    return Simulation()


def test_the_same_seed_gives_the_same_episode(simulation):
    def episode(seed):
        simulation.reset("red_cube_in_bin", seed)
        simulation.servos.set_goal_rad(0, 0.7)
        simulation.advance(0.5)
        poses = np.concatenate(list(simulation.object_poses().values()))
        return np.concatenate([poses, simulation.servos.positions_rad()])

    first = episode(5)
    different = episode(6)
    np.testing.assert_array_equal(episode(5), first)
    assert np.abs(different - first).max() > 0.01


def test_reset_puts_the_arm_home_whatever_the_servos_were_told(simulation):
    simulation.servos.set_goal_rad(1, 0.5)
    simulation.servos.set_torque(2, False)
    simulation.advance(0.3)
    simulation.reset("cube_on_plate", 1)
    assert simulation.time_s == 0.0
    simulation.advance(0.5)
    np.testing.assert_allclose(simulation.servos.positions_rad(), SO101.home_rad, atol=0.01)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_objects_start_at_rest_apart_and_unsolved(simulation, task):
    for seed in range(5):
        simulation.reset(task, seed)
        before = simulation.object_poses()
        assert not simulation.success()
        simulation.advance(0.5)
        for name, pose in simulation.object_poses().items():
            np.testing.assert_allclose(pose[:3], before[name][:3], atol=1e-3)
        assert not simulation.scene().touched


def test_time_steps_of_any_size_add_up(simulation):
    simulation.reset("red_cube_in_bin", 0)
    # 0.3 s are 179.99999 steps in floating point.
    simulation.advance(0.3)
    assert simulation.time_s == pytest.approx(0.3, abs=1e-9)
    simulation.advance(0.7)
    for _ in range(1000):
        simulation.advance(0.0011)
    assert simulation.time_s == pytest.approx(2.1, abs=simulation.model.opt.timestep)


def test_the_layout_repeats_the_scene_file(simulation):
    model = simulation.model
    np.testing.assert_allclose(model.body("bin").pos[:2], BIN_CENTRE)
    np.testing.assert_allclose(model.body("plate").pos[:2], PLATE_CENTRE)
    assert model.geom("plate").size[0] == pytest.approx(PLATE_RADIUS)
    assert 2 * model.geom("plate").size[1] == pytest.approx(PLATE_TOP)
    front = model.geom("bin_front")
    assert front.pos[0] - front.size[0] == pytest.approx(BIN_INNER_HALF)
    assert front.pos[2] + front.size[2] == pytest.approx(BIN_RIM)
    assert 2 * model.geom("bin_floor").size[2] == pytest.approx(BIN_FLOOR)
    for name, shape in SHAPES.items():
        size = model.geom(name).size
        half = (size[0], size[0], size[1]) if shape.round else size
        np.testing.assert_allclose(half, shape.half)


def test_half_height_follows_how_an_object_lies():
    lying = np.array([0, 0, 0, np.sqrt(0.5), 0, np.sqrt(0.5), 0])
    assert half_height("blue_cylinder", lying) == pytest.approx(0.014, abs=1e-6)
    assert half_height("green_brick", lying) == pytest.approx(0.035, abs=1e-6)


def test_every_geom_has_a_label_and_a_temperature(simulation):
    model = simulation.model
    labels = {LABELS[label_of_geom(model, geom)] for geom in range(model.ngeom)}
    assert labels == set(LABELS) - {"background"}
    assert label_of_geom(model, -1) == 0
    objects = [temperature_of_geom(model, model.geom(name).id) for name in SHAPES]
    others = {
        temperature_of_geom(model, geom)
        for geom in range(model.ngeom)
        if model.geom(geom).name not in SHAPES
    }
    gaps = np.abs(np.subtract.outer(objects, [*others]))
    assert gaps.min() >= 4.0
    assert np.diff(sorted(objects)).min() >= 10.0


def test_a_wrong_label_names_the_geom():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><size nuser_geom='2'/><worldbody>"
        "<geom name='odd' size='0.1' user='99 20'/></worldbody></mujoco>"
    )
    with pytest.raises(ValueError, match="odd"):
        label_of_geom(model, 0)


def test_the_arm_reaches_its_limits_without_jamming_itself():
    simulation = Simulation()
    for joint in range(len(SO101)):
        for limit in (SO101.lower_rad[joint], SO101.upper_rad[joint]):
            # Clear of table and objects, whichever joint goes to its limit.
            lift, elbow = {1: (0.0, -1.5), 2: (-1.6, 0.0)}.get(joint, (-0.3, -0.8))
            pose = np.array([0.0, lift, elbow, 0.0, 0.0, 0.2])
            simulation.servos.teleport(pose)
            # The fingers rightly stop each other before the gripper's lower limit.
            goal = 0.98 * limit if (joint, limit) != (5, SO101.lower_rad[5]) else -0.08
            simulation.servos.set_goal_rad(joint, goal)
            simulation.advance(1.5)
            reached = simulation.servos.positions_rad()[joint]
            assert reached == pytest.approx(goal, abs=0.02), SO101.joint_names[joint]


def test_a_snapshot_shows_the_state_of_its_instant(simulation):
    simulation.reset("red_cube_in_bin", 2)
    view = mujoco.MjData(simulation.model)
    simulation.snapshot(view)
    pose = simulation.object_poses()["red_cube"]
    np.testing.assert_allclose(view.body("red_cube").xpos, pose[:3])
    simulation.move_object("red_cube", pose + np.eye(7)[0] * 0.01)
    np.testing.assert_allclose(view.body("red_cube").xpos, pose[:3])


def test_the_empty_fingers_stop_each_other():
    simulation = Simulation()
    simulation.servos.set_goal_rad(5, SO101.lower_rad[5])
    simulation.advance(1.0)
    assert -0.12 < simulation.servos.positions_rad()[5] < -0.05
