"""A checkpoint driven by privileged poses: as in its training objective, repeatably, no frames."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from synthetic_cache import TABLE

from multismolvla.cli import main
from multismolvla.data.bag import find_episodes, read_episode
from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.interfaces import Observation
from multismolvla.policy.checkpoint import save_checkpoint
from multismolvla.policy.config import tiny
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.sim.layout import SHAPES
from multismolvla.streams import load_stream_table
from multismolvla.training.demonstrations import privileged_policy
from multismolvla.training.demonstrations.privileged_policy import PrivilegedPolicy

TASK = "put the red cube in the bin"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Model, tokenizer and normalizer, of random weights."""
    path = tmp_path_factory.mktemp("table") / "streams.yaml"
    path.write_text(TABLE)
    config = tiny(tuple(load_stream_table(path)), SO101)
    text = dataclasses.replace(config.text, vocab_size=1024)
    config = dataclasses.replace(config, text=text, objects=tuple(SHAPES))
    torch.manual_seed(0)
    tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
    return MultiSmolVLA(config, KINEMATICS).eval(), tokenizer, Normalizer(config, KINEMATICS)


@pytest.fixture
def policy(parts):
    # The engine takes the model over.
    model, *others = copy.deepcopy(parts)
    return PrivilegedPolicy(model, *others, SO101, seed=3)


def observation(x: float = 0.2) -> Observation:
    poses = {
        name: np.array([x, 0.05 * number, 0.015, 1.0, 0.0, 0.0, 0.0])
        for number, name in enumerate(SHAPES)
    }
    return Observation(5, {}, {}, np.zeros(6), TASK, poses)


def test_it_acts_on_the_poses(policy, monkeypatch):
    # Without errors and noise the difference is the poses' alone.
    class Nothing:
        def standard_normal(self, shape, dtype=np.float64):
            return np.zeros(shape, dtype)

        def laplace(self, size):
            return np.zeros(size)

        def uniform(self, low, high, size):
            return np.full(size, 0.5)

        def random(self, size):
            return np.full(size, 0.5)

    monkeypatch.setattr(privileged_policy.np.random, "default_rng", lambda _: Nothing())
    here = policy.infer(observation(0.20)).actions
    assert np.array_equal(policy.infer(observation(0.20)).actions, here)
    assert np.abs(policy.infer(observation(0.26)).actions - here).max() > 1e-5


def test_an_episode_repeats_itself_and_each_has_errors_of_its_own(policy):
    def episode(x):
        policy.reset()
        return [policy.infer(observation(x)).actions for _ in range(2)]

    first, second = episode(0.2)
    assert policy.infer(observation()).stamp_ns == 5 and np.isfinite(first).all()
    assert not np.array_equal(first, second)  # errors are new for each chunk
    np.testing.assert_array_equal(episode(0.2), [first, second])
    assert not np.array_equal(episode(0.2 + 1e-6)[0], first)


def test_the_model_reads_poses_as_in_training(parts, policy, monkeypatch):
    """The same scene and noise through the plain model, padded, as the objective reads it."""
    seen = {}
    known, sample = privileged_policy.known_scene, policy._engine.sample

    def keep_scene(*arguments):
        seen["scene"] = known(*arguments)
        return seen["scene"]

    def keep_noise(prefix, noise):
        seen["noise"], seen["actions"] = noise, sample(prefix, noise)
        return seen["actions"]

    monkeypatch.setattr(privileged_policy, "known_scene", keep_scene)
    monkeypatch.setattr(policy._engine, "sample", keep_noise)
    policy.infer(observation())
    model, tokenizer, normalizer = parts
    config = model.config
    language = tokenizer.encode([TASK])
    state = normalizer.normalize_state(torch.zeros(1, 6, dtype=torch.float64))
    views = state.new_zeros(1, len(config.views), 0, config.text.hidden_size)
    present = torch.zeros(1, len(config.views), dtype=torch.bool)
    mask = torch.ones(1, len(config.streams), dtype=torch.bool)
    with torch.no_grad():
        prefix = model.read(views, present, mask, *language, state, estimate=seen["scene"])
        expected = model.sample(prefix, seen["noise"])
    torch.testing.assert_close(seen["actions"], expected, atol=1e-4, rtol=1e-4)


def test_missing_poses_are_one_line(policy):
    blind = dataclasses.replace(observation(), privileged={})
    with pytest.raises(ValueError, match=r"no pose of red_cube"):
        policy.infer(blind)


def test_the_command_records_a_privileged_learner_without_frames(parts, tmp_path, capsys):
    model, *others = parts
    save_checkpoint(tmp_path / "hand", model, model.config, *others)
    options = ["--policy", str(tmp_path / "hand"), "--privileged", "--only", "none"]
    options += ["--workers", "1", "--episodes-per-task", "1", "--tasks", "red_cube_in_bin"]
    options += ["--expert-share", "0", "--noise", "0"]
    assert main(["demos", "--out", str(tmp_path / "out"), *options]) == 0
    assert "0/1 succeeded" in capsys.readouterr().out
    (folder,) = find_episodes(tmp_path / "out")
    episode = read_episode(folder)
    assert episode.streams == () and not episode.success
    assert episode.meta["source"] == f"dagger:{tmp_path / 'hand'}"


def test_a_checkpoint_without_object_tokens_is_one_line(parts, tmp_path, capsys):
    model, *others = parts
    model = MultiSmolVLA(dataclasses.replace(model.config, objects=()), KINEMATICS)
    save_checkpoint(tmp_path / "blind", model, model.config, *others)
    options = ["--policy", str(tmp_path / "blind"), "--privileged", "--only", "none"]
    assert main(["demos", "--out", str(tmp_path / "out"), *options]) == 1
    printed = capsys.readouterr().err
    assert "no object tokens" in printed and printed.count("\n") == 1
