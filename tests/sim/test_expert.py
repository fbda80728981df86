"""The scripted expert solves its tasks from wherever it is put, and with late chunks."""

import numpy as np
import pytest

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.interfaces import Observation
from multismolvla.sim.expert import next_target
from multismolvla.sim.expert_policy import PERIOD_S, ExpertPolicy
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import TASKS, find_task


@pytest.fixture(scope="module")
def simulation():
    return Simulation()


def command(simulation, target):
    for index, goal in enumerate(target):
        simulation.servos.set_goal_rad(index, goal)
    simulation.advance(PERIOD_S)


def solve(simulation, until_s):
    """Run the law until success or `until_s`."""
    while simulation.time_s < until_s and not simulation.success():
        joints, poses = simulation.servos.positions_rad(), simulation.object_poses()
        command(simulation, next_target(joints, poses, simulation.goals, PERIOD_S))
    return simulation.success()


def observe(simulation, **changes):
    values = {
        "stamp_ns": round(simulation.time_s * 1e9),
        "frames": {},
        "mask": {},
        "state": simulation.servos.positions_rad(),
        "task": simulation.task.instruction,
        "privileged": simulation.object_poses(),
    }
    return Observation(**(values | changes))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_the_law_solves_every_task(simulation, task):
    simulation.reset(task, 11)
    assert solve(simulation, 20.0)


@pytest.mark.parametrize("seed", range(8))
def test_the_law_solves_a_task_from_a_random_reachable_state(simulation, seed):
    rng = np.random.default_rng(seed)
    simulation.reset(TASKS[seed], seed)
    while True:
        joints = rng.uniform(SO101.lower_rad, SO101.upper_rad)
        if KINEMATICS.forward(joints)[0][2] > 0.10:
            break
    simulation.servos.teleport(joints)
    assert solve(simulation, 30.0)


def test_the_law_picks_an_object_up_again_that_was_dropped_in_mid_air(simulation):
    simulation.reset("red_cube_in_bin", 3)
    while simulation.object_poses()["red_cube"][2] < 0.06:
        joints, poses = simulation.servos.positions_rad(), simulation.object_poses()
        command(simulation, next_target(joints, poses, simulation.goals, PERIOD_S))
    for _ in range(10):
        simulation.servos.set_goal_rad(5, 1.2)
        simulation.advance(PERIOD_S)
    assert simulation.object_poses()["red_cube"][2] < 0.03
    assert solve(simulation, 20.0)


def test_the_law_follows_an_object_that_is_pushed_away(simulation):
    simulation.reset("blue_cylinder_in_bin", 4)
    solve(simulation, 0.8)
    pose = simulation.object_poses()["blue_cylinder"]
    pose[0] += 0.02 if pose[0] < 0.2 else -0.02
    simulation.move_object("blue_cylinder", pose)
    assert solve(simulation, 20.0)


def test_joint_targets_are_slow_and_within_limits(simulation):
    simulation.reset("cube_on_brick", 5)
    while not simulation.success() and simulation.time_s < 10.0:
        joints, poses = simulation.servos.positions_rad(), simulation.object_poses()
        target = next_target(joints, poses, simulation.goals, PERIOD_S)
        assert (target >= SO101.lower_rad).all()
        assert (target <= SO101.upper_rad).all()
        assert np.abs(target - joints).max() <= 2.0 * PERIOD_S + 1e-9
        command(simulation, target)
    assert simulation.success()


def test_after_the_work_the_arm_goes_home_and_stays(simulation):
    simulation.reset("cube_on_plate", 6)
    assert solve(simulation, 20.0)
    for _ in range(90):
        joints, poses = simulation.servos.positions_rad(), simulation.object_poses()
        command(simulation, next_target(joints, poses, simulation.goals, PERIOD_S))
    np.testing.assert_allclose(simulation.servos.positions_rad(), SO101.home_rad, atol=0.02)
    assert simulation.success()


@pytest.mark.parametrize(
    ("task_id", "latency_s", "replan_s"),
    [
        ("green_brick_in_bin", 0.3, 0.5),
        ("cube_on_brick", 0.3, 0.3),
        ("leftmost_on_plate", 0.1, 0.2),
        ("brick_on_plate_cube_in_bin", 0.3, 0.4),
    ],
)
def test_late_chunks_replanned_from_fresh_observations_solve_a_task(
    simulation, task_id, latency_s, replan_s
):
    simulation.reset(task_id, 21)
    policy = ExpertPolicy()
    chunk, waiting, asked = None, [], 0
    while simulation.time_s < 25.0 and not simulation.success():
        now = simulation.time_s
        if now >= asked * replan_s - 1e-9:
            asked += 1
            waiting.append((now + latency_s, policy.infer(observe(simulation))))
        while waiting and waiting[0][0] <= now + 1e-9:
            chunk = waiting.pop(0)[1]
        if chunk is None:
            simulation.advance(PERIOD_S)
        else:
            row = round((now - chunk.stamp_ns * 1e-9) / PERIOD_S)
            command(simulation, chunk.actions[min(row, len(chunk.actions) - 1)])
    assert simulation.success()


def test_a_chunk_begins_at_the_observed_state_and_moves_smoothly(simulation):
    simulation.reset("red_cube_in_bin", 7)
    observation = observe(simulation)
    chunk = ExpertPolicy().infer(observation)
    assert chunk.actions.shape == (50, 6)
    assert chunk.period_s == pytest.approx(1 / 30)
    np.testing.assert_array_equal(chunk.actions[0], observation.state)
    speed = np.diff(chunk.actions[:, :5], axis=0) / PERIOD_S
    assert np.abs(speed).max() < 2.2
    assert np.abs(np.diff(speed, axis=0)).max() / PERIOD_S < 20.1
    assert np.abs(speed).max() > 0.5


def test_the_next_chunk_agrees_with_the_last_one_where_the_arm_may_already_be(simulation):
    simulation.reset("red_cube_in_bin", 8)
    policy = ExpertPolicy()
    first = policy.infer(observe(simulation))
    # The object has moved meanwhile, so the law itself would turn elsewhere at once.
    poses = simulation.object_poses()
    poses["red_cube"][1] -= 0.05
    stamp_ns = first.stamp_ns + round(3 * PERIOD_S * 1e9)
    second = policy.infer(observe(simulation, stamp_ns=stamp_ns, privileged=poses))
    # The longest latency that the policy is meant for.
    rows = round(0.3 / PERIOD_S)
    np.testing.assert_allclose(second.actions[:rows], first.actions[3 : rows + 3], atol=1e-6)
    assert np.abs(second.actions[-4] - first.actions[-1]).max() > 0.02


def test_without_commitment_a_chunk_depends_on_its_observation_alone(simulation):
    simulation.reset("red_cube_in_bin", 9)
    policy = ExpertPolicy(committed_s=0.0)
    first = policy.infer(observe(simulation))
    policy.infer(observe(simulation, state=SO101.home_rad + 0.1, stamp_ns=10**9))
    np.testing.assert_array_equal(policy.infer(observe(simulation)).actions, first.actions)
    assert np.abs(first.actions[1] - first.actions[0]).max() > 0.01


def test_the_policy_keeps_to_the_object_that_was_meant_at_the_start(simulation):
    simulation.reset("leftmost_on_plate", 2)
    meant = simulation.goals[0].name
    policy = ExpertPolicy(committed_s=0.0)
    policy.infer(observe(simulation))
    swapped = simulation.object_poses()
    other = next(name for name in swapped if name != meant)
    swapped[meant][1], swapped[other][1] = -0.06, 0.06
    moved = observe(simulation, privileged=swapped)
    kept = policy.infer(moved).actions
    policy.reset()
    assert np.abs(policy.infer(moved).actions - kept).max() > 0.05


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "make coffee"}, "unknown task 'make coffee'"),
        ({"privileged": {}}, "no pose of red_cube, blue_cylinder, green_brick"),
        ({"privileged": dict.fromkeys(find_task("all_in_bin").place(0), np.zeros(3))}, "red_cube"),
        ({"state": np.full(6, np.nan)}, "expected 6 finite joint angles"),
        ({"state": np.zeros(5)}, "expected 6 finite joint angles"),
    ],
)
def test_unusable_input_is_refused_in_one_line(simulation, changes, said):
    with pytest.raises(ValueError, match=said) as caught:
        ExpertPolicy().infer(observe(simulation, **changes))
    assert "\n" not in str(caught.value)
