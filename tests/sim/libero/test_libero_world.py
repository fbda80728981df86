"""The world against LIBERO's own environment."""

import mujoco
import numpy as np
import pytest


def states(world):
    data = world.data
    return np.concatenate([data.qpos, data.qvel, data.ctrl, [data.time]])


@pytest.mark.parametrize("task", ["object/0", "goal/0"])
def test_a_step_is_liberos_own_to_the_last_bit(libero_world, task):
    actions = np.random.default_rng(1).uniform(-1, 1, (30, 7))

    def play(step):
        libero_world.start(task, 3)
        passed = []
        for action in actions:
            step(action)
            passed.append(states(libero_world))
        return np.stack(passed)

    ours = play(libero_world.step)
    # LIBERO adds up its goal's reward and observations in it, which change nothing.
    theirs = play(lambda action: libero_world.env.step(action))
    np.testing.assert_array_equal(ours, theirs)
    assert np.ptp(ours, 0).max() > 0.01


def test_a_place_beyond_the_fifty_is_refused(libero_world):
    with pytest.raises(ValueError, match="init state is 50; every task of LIBERO has 0 to 49"):
        libero_world.start("object/0", 50)


def test_the_same_seed_gives_the_same_place_and_another_one_another(libero_world):
    places = []
    for seed in (5, 5, 6):
        libero_world.reset("object/0", seed)
        places.append(states(libero_world))
    np.testing.assert_array_equal(places[0], places[1])
    assert np.abs(places[2] - places[0]).max() > 0.01


def test_a_snapshot_shows_the_same_places(libero_world):
    libero_world.start("object/0", 0)
    into = mujoco.MjData(libero_world.model)
    libero_world.snapshot(into)
    np.testing.assert_allclose(into.xpos, libero_world.data.xpos, atol=1e-3)
