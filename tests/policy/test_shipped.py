"""What comes with the package under a name: found wherever a checkpoint is named, and sound."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from multismolvla.cli import main
from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy import shipped
from multismolvla.policy.checkpoint import CheckpointError, resolve, save_checkpoint
from multismolvla.policy.config import tiny
from multismolvla.policy.dry_run import synthetic_observation
from multismolvla.policy.learned_policy import LearnedPolicy
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.stack.policy_loading import (
    known_policies,
    load_policy,
    with_digest,
    without_digest,
)
from multismolvla.streams import load_stream_table

ROOT = Path(__file__).parents[2]
TABLE = load_stream_table(ROOT / "config" / "streams.yaml")
SMALL = shipped.FOLDERS["small"]
MAX_BYTES = 25_000_000
# Of `multismolvla evaluate`, whose scenes no training may have seen.
EVALUATED = range(1_000_000, 1_010_000)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A tiny random checkpoint in the place of `small`; returns its folder."""
    preset = tiny(tuple(TABLE), SO101)
    config = dataclasses.replace(preset, text=dataclasses.replace(preset.text, vocab_size=1024))
    torch.manual_seed(0)
    folder = tmp_path / "package" / "small"
    tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
    save_checkpoint(
        folder, MultiSmolVLA(config, KINEMATICS), config, tokenizer, Normalizer(config, KINEMATICS)
    )
    monkeypatch.setitem(shipped.FOLDERS, "small", folder)
    return folder


@pytest.fixture
def absent(tmp_path, monkeypatch):
    """A package that was built without the weights."""
    monkeypatch.setitem(shipped.FOLDERS, "small", tmp_path / "gone")


def observed(policy):
    names = [stream.name for stream in policy.streams]
    return synthetic_observation(policy.streams, names, np.random.default_rng(0), SO101.home_rad)


def test_the_node_takes_the_name_with_all_options_of_a_checkpoint(small):
    policy = load_policy("small", SO101, device="cpu", seed=3)
    same = LearnedPolicy.load(small, SO101, device="cpu", seed=3)
    expected = same.infer(observed(same)).actions
    assert np.array_equal(policy.infer(observed(policy)).actions, expected)
    assert "small" in known_policies()


def test_a_path_to_a_folder_of_that_name_means_the_folder(small, tmp_path, monkeypatch):
    (tmp_path / "small").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("small") == small
    assert resolve("./small") == resolve(Path("small")) == Path("small")


def test_an_evaluation_names_the_exact_weights_and_not_what_is_written_about_them(small):
    before = with_digest("small")
    assert without_digest(before) == "small" and before != "small"
    (small / "README.md").write_text("A model card.")
    assert with_digest("small") == before
    (small / "multismolvla.json").write_text((small / "multismolvla.json").read_text() + "\n")
    assert with_digest("small") != before


def test_an_evaluation_runs_it(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("multismolvla.stack.closed_loop.DEFAULT_MAX_STEPS", {"object": 15})
    arguments = ["--policies", "small", "--tasks", "red_cube_in_bin", "--conditions", "clean"]
    arguments += ["--episodes-per-task", "1", "--workers", "1", "--no-clips"]
    arguments += ["--out", str(tmp_path / "e")]
    assert main(["evaluate", *arguments]) == 0, capsys.readouterr().err
    (line,) = (tmp_path / "e" / "outcomes.jsonl").read_text().splitlines()
    outcome = json.loads(line)
    assert outcome["policy"] == with_digest("small")
    assert outcome["policy_error"] == "" and outcome["inferences"] >= 1


def test_missing_weights_are_one_clear_line_everywhere(absent, tmp_path, capsys):
    said = "trained weights of 'small' are not in this copy of the package: .*gone has no model"
    with pytest.raises(CheckpointError, match=said):
        resolve("small")
    with pytest.raises(ValueError, match=said) as error:
        load_policy("small", SO101)
    assert "\n" not in str(error.value) and "small" not in known_policies()
    for command in (
        ["demo", "--policy", "small", "--out", str(tmp_path / "demo")],
        ["evaluate", "--policies", "small"],
    ):
        assert main([*command, "--out", str(tmp_path / "out")]) == 1
        printed = capsys.readouterr().err
        assert re.search(said, printed) and printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_name_alone_does_not_wait_for_torch():
    code = "import sys, multismolvla.policy.shipped; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- What is really there ---

present = pytest.mark.skipif(not SMALL.is_dir(), reason="no trained weights in this copy")


@present
def test_the_shipped_folder_is_complete_and_small():
    names = {"multismolvla.json", "model.safetensors", "tokenizer.json", "training.json"}
    assert {file.name for file in SMALL.iterdir()} == names | {"README.md", "examples.npz"}
    assert sum(file.stat().st_size for file in SMALL.iterdir()) < MAX_BYTES


@present
def test_the_shipped_policy_sees_this_robot_and_gives_finite_actions():
    policy = LearnedPolicy.load("small", SO101, seed=0)
    assert tuple(policy.streams) == tuple(TABLE)
    chunk = policy.infer(observed(policy))
    assert chunk.actions.shape[1] == 6 and np.isfinite(chunk.actions).all()


@present
def test_the_shipped_policy_says_how_it_came_to_be():
    training = json.loads((SMALL / "training.json").read_text())
    runs = [training, *training["before"].values()]
    for run in runs:
        assert re.fullmatch("[0-9a-f]{40}", run["revision"])
        assert run["recipe"]["phases"] and isinstance(run["recipe"]["seed"], int)
        assert any(run["data_seeds"].values())
        for first, last in (seeds for of in run["data_seeds"].values() for seeds in of):
            overlap = range(max(first, EVALUATED.start), min(last + 1, EVALUATED.stop))
            assert not overlap, "trained on the scenes of the evaluation"
    text = (SMALL / "training.json").read_text()
    assert not re.search(r'"/', text), "a path of the machine that trained"
