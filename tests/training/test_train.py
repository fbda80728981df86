"""The command: it learns, it goes on where it was, and it leaves policies."""

import json
import signal

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from synthetic_cache import ROWS, TABLE, draw, write_cache

from multismolvla.cli import main
from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import Observation
from multismolvla.policy.checkpoint import WEIGHTS
from multismolvla.policy.learned_policy import LearnedPolicy
from multismolvla.training.policy.phase_run import PhaseRun
from multismolvla.training.policy.training_state import FILE_NAME

STREAMS = ("rgb", "depth", "segmentation")
RECIPE = {
    "model": {"preset": "tiny", "overrides": {"text": {"vocab_size": 1024}}},
    "validate_samples": 8,
    "validate_steps": 4,
    "phases": [
        {
            "name": "perception",
            "kind": "perception",
            "steps": 4,
            "batch_size": 4,
            "groups": 2,
            "learning_rate": 1e-3,
            "dropout": {"schedule": "fixed", "rate": 0.5},
        },
        {
            "name": "action_expert",
            "kind": "action_expert",
            "steps": 2,
            "batch_size": 4,
            "groups": 1,
            "draws": 2,
        },
        {"name": "policy", "steps": 6, "batch_size": 4, "groups": 2, "draws": 2},
    ],
}


@pytest.fixture
def train(tmp_path):
    """Run the command on a small cache; returns exit status."""
    write_cache(tmp_path / "data", episodes=6, length=8, streams=STREAMS)
    (tmp_path / "streams.yaml").write_text(TABLE)

    def run(out, recipe=RECIPE, *options):
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        arguments = ["train", tmp_path / "recipe.yaml", "--data", tmp_path / "data", "--cpu"]
        arguments += ["--streams", tmp_path / "streams.yaml", "--out", tmp_path / out, *options]
        return main([str(argument) for argument in arguments])

    return run


def weights(folder):
    # Not the bytes of the file, whose header lists the metadata in any order.
    return load_file(folder / WEIGHTS)


@pytest.mark.parametrize("stop_after", [2, 4, 9])
def test_a_run_that_was_stopped_ends_with_the_same_weights(
    train, tmp_path, monkeypatch, stop_after
):
    assert train("whole") == 0
    step, done = PhaseRun._step, []

    def interrupted(self, *args, **kwargs):
        step(self, *args, **kwargs)
        done.append(1)
        if len(done) == stop_after:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(PhaseRun, "_step", interrupted)
    assert train("stopped") == 130
    assert len(done) == stop_after
    assert train("stopped") == 0
    assert len(done) == 12
    for phase in ("perception", "action_expert", "policy"):
        whole, stopped = (weights(tmp_path / run / phase) for run in ("whole", "stopped"))
        assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert train("stopped") == 0 and len(done) == 12


def test_a_checkpoint_runs_as_a_policy_and_says_how_it_came_to_be(train, tmp_path):
    assert train("out") == 0
    policy = LearnedPolicy.load(tmp_path / "out" / "policy", SO101)
    rng = np.random.default_rng(0)
    frames = {"rgb": draw("rgb", np.zeros(2), rng)}
    observation = Observation(0, frames, {"rgb": True}, np.zeros(6), "put the red cube in the bin")
    assert policy.infer(observation).actions.shape == (ROWS, 6)
    content = json.loads((tmp_path / "out" / "policy" / "training.json").read_text())
    assert content["recipe"]["phases"][2]["steps"] == 6 and content["episodes"] == 4
    lines = [
        json.loads(line)
        for line in (tmp_path / "out" / "logs" / "metrics.jsonl").read_text().splitlines()
    ]
    assert any("validation/action_rad/no_rgb" in line for line in lines)
    assert any("lost/rgb" in line for line in lines)
    assert {"phase", "step", "time"} <= lines[0].keys()


def test_an_action_expert_learns_and_is_scored_without_frames(train, tmp_path, capsys):
    write_cache(tmp_path / "blind", episodes=6, length=8, streams=(), seed=1)
    blind = {"cache": str(tmp_path / "blind"), "steps": 4}
    perception, action_expert, policy = RECIPE["phases"]
    assert train("out", {**RECIPE, "phases": [perception, action_expert | blind, policy]}) == 0
    log = (tmp_path / "out" / "logs" / "metrics.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in log]
    (score,) = [line for line in lines if "validation/action_rad/privileged" in line]
    trained = [
        json.loads((tmp_path / "out" / phase / "training.json").read_text())
        for phase in ("perception", "action_expert", "policy")
    ]
    of_run, of_phase = {str(tmp_path / "data"): [[0, 5]]}, {str(tmp_path / "blind"): [[0, 5]]}
    seeds = [content["data_seeds"] for content in trained]
    assert seeds == [of_run, of_run | of_phase, of_run | of_phase]
    assert score["phase"] == "action_expert"
    assert 0 < score["validation/action_rad/privileged"] < 10
    assert "validation/action_rad/clean" not in score
    assert train("not", {**RECIPE, "phases": [perception, action_expert, policy | blind]}) == 1
    assert "has no stream 'rgb'" in capsys.readouterr().err


def test_a_checkpoint_keeps_the_history_of_one_that_is_gone(train, tmp_path):
    perception, *_ = RECIPE["phases"]
    assert train("first", {**RECIPE, "phases": [perception]}) == 0
    first = tmp_path / "first" / "perception"
    more = {"preset": "tiny", "start": str(first)}
    assert train("second", {**RECIPE, "model": more, "phases": [perception]}) == 0
    began = json.loads((first / "training.json").read_text())
    (first / "training.json").unlink()
    content = json.loads((tmp_path / "second" / "perception" / "training.json").read_text())
    assert began["before"] == {} and content["before"] == {"start": began}


def test_a_policy_phase_also_trains_on_privileged_poses(train, tmp_path, capsys):
    blind = tmp_path / "blind"
    write_cache(blind, episodes=6, length=8, streams=(), seed=1)
    perception, action_expert, policy = RECIPE["phases"]
    both = policy | {"privileged_cache": str(blind), "privileged_size": 3}
    assert train("out", {**RECIPE, "phases": [perception, action_expert, both]}) == 0
    assert train("alone") == 0
    ours, alone = (weights(tmp_path / run / "policy") for run in ("out", "alone"))
    assert any(not torch.equal(ours[name], alone[name]) for name in ours)
    content = json.loads((tmp_path / "out" / "policy" / "training.json").read_text())
    assert str(blind) in content["data_seeds"]
    assert train("not", {**RECIPE, "phases": [perception | {"privileged_cache": str(blind)}]}) == 2
    assert "privileged_cache" in capsys.readouterr().err


def test_a_missing_cache_of_a_late_phase_is_said_before_anything_is_trained(
    train, tmp_path, capsys
):
    *before, policy = RECIPE["phases"]
    late = policy | {"cache": str(tmp_path / "nowhere")}
    assert train("out", {**RECIPE, "phases": [*before, late]}) == 1
    error = capsys.readouterr().err
    assert "nowhere" in error and not (tmp_path / "out" / "perception").exists()


def test_another_recipe_does_not_go_on_from_a_state(train, capsys):
    assert train("out", RECIPE, "--set", "phases.2.steps=3") == 0
    assert train("out") == 1
    assert "--fresh" in capsys.readouterr().err
    assert train("out", RECIPE, "--fresh") == 0


def test_a_damaged_state_is_named(train, tmp_path, capsys):
    assert train("out") == 0
    state = tmp_path / "out" / "state" / FILE_NAME
    state.write_bytes(state.read_bytes()[:100])
    assert train("out") == 1
    assert "damaged" in capsys.readouterr().err


def test_a_missing_cache_is_said_in_one_line(train, tmp_path, capsys):
    assert train("out", RECIPE, "--set", "data.cache=nowhere", "--data", tmp_path / "no") == 1
    error = capsys.readouterr().err
    assert "cache" in error and "Traceback" not in error


@pytest.mark.parametrize("change", ["frozen", "lora"])
def test_parts_can_be_left_as_they_are(train, tmp_path, change):
    policy = {**RECIPE["phases"][2], "auxiliary": 0.0 if change == "frozen" else 0.5}
    if change == "frozen":
        policy |= {"frozen_views": True, "frozen_variants": 2}
    else:
        pytest.importorskip("peft")
        policy |= {"lora_rank": 2, "trainable": ["expert"]}
    assert train("out", {**RECIPE, "phases": [RECIPE["phases"][0], policy]}) == 0
    before, after = (weights(tmp_path / "out" / phase) for phase in ("perception", "policy"))
    moved = {name.partition(".")[0] for name in before if not before[name].equal(after[name])}
    assert "expert" in moved and "visual" not in moved
    assert ("state_proj" in moved) is (change == "frozen")
