"""The Gymnasium environment keeps Gymnasium's contract and reports the simulator's verdict."""

import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from multismolvla.sim.env import STEP_S, TabletopEnv
from multismolvla.sim.expert import next_target
from multismolvla.streams import Stream, StreamTable

TABLE = StreamTable(
    tuple(
        Stream(f"{view}{kind}", kind, 32, 40, 15.0, "camera_optical_frame")
        for view in ("", "wrist/")
        for kind in ("rgb", "depth", "thermal", "segmentation")
    )
)


# Without depth: that check takes no NaN, not even two in the same place, for equal.
@pytest.mark.parametrize("streams", [(), ("rgb", "thermal", "segmentation")], ids=len)
def test_the_environment_passes_gymnasiums_own_checks(streams):
    env = TabletopEnv(table=TABLE, streams=streams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Joint limits are not symmetric around zero and there is nothing to render.
        warnings.filterwarnings("ignore", message=".*recommend.*")
        # A channel that is missing in depth and the labels.
        warnings.filterwarnings("ignore", message=".*is not an image.*")
        check_env(env, skip_render_check=True)
    env.close()


def test_the_expert_earns_the_reward_and_ends_the_episode():
    env = TabletopEnv(max_steps=300)
    observation, info = env.reset(seed=1, options={"task": "put the red cube on the plate"})
    assert info["task"] == "cube_on_plate"
    for _ in range(300):
        goals = env.simulation.goals
        action = next_target(observation["state"], info["object_poses"], goals, STEP_S)
        observation, reward, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            break
    assert terminated
    assert reward == 1.0
    assert info["success"]


def test_an_idle_arm_is_truncated_without_reward():
    env = TabletopEnv(max_steps=5)
    observation, _ = env.reset(seed=0)
    outcomes = [env.step(observation["state"])[1:4] for _ in range(5)]
    assert outcomes[-1] == (0.0, False, True)
    assert not any(truncated for _, _, truncated in outcomes[:-1])


def test_unseeded_resets_differ_and_seeded_ones_do_not():
    env = TabletopEnv()
    _, first = env.reset(seed=3)
    _, other = env.reset()
    _, again = env.reset(seed=3)
    cube = "red_cube"
    assert np.abs(first["object_poses"][cube] - other["object_poses"][cube]).max() > 1e-4
    np.testing.assert_array_equal(first["object_poses"][cube], again["object_poses"][cube])


def test_the_same_seed_gives_the_same_frames_again():
    env = TabletopEnv(table=TABLE, streams=TABLE.names)
    try:
        first, other, again = (env.reset(seed=seed)[0] for seed in (3, 4, 3))
        for name in TABLE.names:
            np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first["rgb"], other["rgb"])
    finally:
        env.close()


def test_streams_asked_for_come_with_the_state():
    env = TabletopEnv(table=TABLE, streams=("rgb", "wrist/depth"))
    try:
        observation, _ = env.reset(seed=0)
        assert set(observation) == {"state", "rgb", "wrist/depth"}
        assert observation in env.observation_space
        observation = env.step(observation["state"])[0]
        assert observation["rgb"].shape == (32, 40, 3)
    finally:
        env.close()


@pytest.mark.parametrize("action", [np.zeros(5), np.full(6, np.nan)])
def test_an_action_that_cannot_be_executed_is_refused(action):
    env = TabletopEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="expected 6 finite angles"):
        env.step(action)


def test_wrong_options_are_refused():
    env = TabletopEnv()
    with pytest.raises(ValueError, match="unknown reset option 'tsk'"):
        env.reset(options={"tsk": "x"})
    with pytest.raises(ValueError, match="without a stream table"):
        TabletopEnv(streams=("rgb",))
