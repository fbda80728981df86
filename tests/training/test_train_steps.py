"""An arm that is commanded by steps: episodes, cache, two steps of training, and a policy of it."""

import dataclasses

import numpy as np
import pytest
import yaml
from made_up_episode import made_up_steps

from multismolvla.cli import main
from multismolvla.data.bag import write_episode
from multismolvla.data.cache import TrainingCache
from multismolvla.data.cache_writer import CacheWriter
from multismolvla.embodiment.panda import PANDA
from multismolvla.interfaces import Observation
from multismolvla.policy.config import tiny
from multismolvla.policy.learned_policy import LearnedPolicy
from multismolvla.streams import load_stream_table
from multismolvla.training.policy.recipe import PhaseRecipe, Recipe, relative_joints
from multismolvla.training.policy.run import make_normalizer, phase_caches

STREAMS = ("agentview/rgb", "wrist/depth")
TABLE = "streams:\n" + "".join(
    f"  - {{name: {name}, kind: {name.rpartition('/')[2]}, height: 6, width: 8, "
    f"rate_hz: 20.0, frame_id: camera_optical_frame}}\n"
    for name in STREAMS
)
RECIPE = {
    "model": {"preset": "tiny", "overrides": {"text": {"vocab_size": 1024}}},
    "object_tokens": False,
    "validate_samples": 4,
    "validate_steps": 2,
    "phases": [{"name": "policy", "steps": 2, "batch_size": 4, "groups": 2, "draws": 2}],
}


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path):
    """A cache made of bags by the command, of an arm that is commanded by steps."""
    for seed in range(6):
        write_episode(tmp_path / "bags" / str(seed), made_up_steps(seed, streams=STREAMS))
    out = tmp_path / "cache"
    shares = ("--validation-share", 0.4, "--embodiment", "panda")
    assert run("dataset", "cache", tmp_path / "bags", "--out", out, *shares) == 0
    (tmp_path / "streams.yaml").write_text(TABLE)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return out


def train(data, out, arm="panda"):
    folder = data.parent
    options = ("--streams", folder / "streams.yaml", "--embodiment", arm, "--cpu")
    return run("train", folder / "recipe.yaml", "--data", data, "--out", out, *options)


def test_two_steps_of_training_give_a_policy_of_the_arm(data, tmp_path):
    cache = TrainingCache(data)
    assert (cache.objects, cache.period_s) == (("grasp", "place"), 0.05)
    assert train(data, tmp_path / "out") == 0
    policy = LearnedPolicy.load(tmp_path / "out" / "policy", PANDA, device="cpu")
    frames = {"agentview/rgb": np.zeros((6, 8, 3), np.uint8), "wrist/depth": None}
    mask = {"agentview/rgb": True, "wrist/depth": False}
    chunk = policy.infer(Observation(7, frames, mask, np.zeros(8), "do number 0"))
    assert chunk.actions.shape == (10, 7) and chunk.period_s == 0.05
    assert np.isfinite(chunk.actions).all()


def test_actions_are_normalised_by_their_own_statistics(data, tmp_path):
    cache, table = TrainingCache(data), load_stream_table(tmp_path / "streams.yaml")
    config = tiny(tuple(table), PANDA)
    samples = cache.split("train")
    normalizer = make_normalizer(config, PANDA.kinematics, cache, samples)
    chunk = cache.array("chunk")[samples, : config.chunk_size]
    np.testing.assert_allclose(normalizer.action_mean, chunk.mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(normalizer.action_std, chunk.std((0, 1)), atol=1e-5)
    assert normalizer.state_mean.shape == (8,)
    assert relative_joints(Recipe(phases=(PhaseRecipe("policy"),)), PANDA) == ()


def test_a_cache_of_another_arm_is_refused(data, tmp_path, capsys):
    assert train(data, tmp_path / "out", "so101") == 1
    assert "cache: joints are x, y, z" in capsys.readouterr().err


def test_a_phase_s_own_cache_must_have_the_same_period(data, tmp_path):
    slow = dataclasses.replace(PANDA.action, period_s=0.1)
    names = PANDA.state_names, {}, ("grasp", "place")
    with CacheWriter(tmp_path / "slow", *names, actions=PANDA.action_names) as writer:
        writer.add("slow", made_up_steps(streams=(), action_space=slow))
    recipe = Recipe(phases=(PhaseRecipe("policy", cache=str(tmp_path / "slow")),))
    with pytest.raises(ValueError, match=r"slow has the period 0\.1 s; .*cache has 0\.05 s"):
        phase_caches(recipe, TrainingCache(data))
