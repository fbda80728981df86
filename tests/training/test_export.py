"""Exporting: half the bytes, nearly the same actions, and a card that says where they are from."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file
from synthetic_cache import STREAMS, TABLE, write_cache

from multismolvla.cli import main
from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.checkpoint import load_checkpoint, save_checkpoint
from multismolvla.policy.checkpoint_source import load_any_checkpoint
from multismolvla.policy.config import PRESETS
from multismolvla.policy.learned_policy import LearnedPolicy
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.stack.policy_loading import with_digest
from multismolvla.streams import load_stream_table
from multismolvla.training.export.command import largest_difference
from multismolvla.training.policy.recipe_file import as_dict, load_recipe

REVISION = "0123456789abcdef0123456789abcdef01234567"
RECIPE = """
model: {{preset: {preset}, start: "{start}"}}
data: {{cache: {data}}}
phases:
  - {{name: perception, kind: perception, steps: 7}}
  - {{name: policy, steps: 300, batch_size: 32}}
  - {{name: later, steps: 1, cache: nowhere}}
"""
REPORT = "# Closed-loop evaluation\n\nSome episodes.\n\n## In short\n\n| policy |\n|---|\n| a |\n"
# An error of a weight is at most 2^-11 of it, and the errors of many do not add up.
CLOSE_RAD = 2e-3


@pytest.fixture
def trained(tmp_path):
    """Make a run's folder with random weights."""
    (tmp_path / "streams.yaml").write_text(TABLE)
    table = tuple(load_stream_table(tmp_path / "streams.yaml"))
    data = write_cache(tmp_path / "data", episodes=6, length=4, streams=STREAMS, seed=0)

    def make(name, preset="tiny", start="", recipe=RECIPE, **more):
        config = PRESETS[preset](table, SO101)
        config = dataclasses.replace(
            config, text=dataclasses.replace(config.text, vocab_size=1024), objects=("red_cube",)
        )
        torch.manual_seed(0)
        # Joints of half a radian: what reaches the arm, not what the model counts in.
        normalizer = Normalizer(config, KINEMATICS, action_std=torch.full((6,), 0.5))
        tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
        folder = tmp_path / name
        save_checkpoint(folder, MultiSmolVLA(config, KINEMATICS), config, tokenizer, normalizer)
        file = tmp_path / "recipe.yaml"
        file.write_text(recipe.format(preset=preset, start=start, data=data))
        content = {"recipe": as_dict(load_recipe(file)), "phase": "policy", "minutes": 41.5}
        content |= {
            "revision": REVISION,
            "samples": 16,
            "episodes": 4,
            "data_seeds": ["None"],
            **more,
        }
        (folder / "training.json").write_text(json.dumps(content))
        return folder

    return make


def export(folder, out, *options):
    return main(["export", str(folder), "--out", str(out), *map(str, options)])


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_half_precision_acts_nearly_the_same(trained, tmp_path, preset, capsys):
    folder, out = trained("run", preset), tmp_path / "out"
    assert export(folder, out) == 0
    difference = largest_difference(folder, out, SO101)
    assert 0 < difference < CLOSE_RAD
    assert f"{difference:.1e} rad" in capsys.readouterr().out
    sizes = [(each / "model.safetensors").stat().st_size for each in (folder, out)]
    assert sizes[1] < 0.55 * sizes[0]


def test_weights_are_halved_and_statistics_are_not(trained, tmp_path):
    folder, out = trained("run"), tmp_path / "out"
    assert export(folder, out) == 0
    types = {name: tensor.dtype for name, tensor in load_file(out / "model.safetensors").items()}
    for name, dtype in types.items():
        expected = torch.float32 if name.startswith("normalizer.") else torch.float16
        assert dtype == expected, name
    assert load_checkpoint(out, SO101).normalizer.action_std.tolist() == [0.5] * 6
    loaded = load_any_checkpoint(out, SO101).model
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    LearnedPolicy.load(out, SO101).dry_run()


def test_full_precision_changes_nothing(trained, tmp_path):
    folder, out = trained("run"), tmp_path / "out"
    assert export(folder, out, "--precision", "float32") == 0
    before, after = (load_file(each / "model.safetensors") for each in (folder, out))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_history_of_a_checkpoint_goes_with_it(trained, tmp_path):
    first, out = trained("first"), tmp_path / "out"
    assert export(trained("run", start=str(first)), out) == 0
    text = (out / "training.json").read_text()
    history = json.loads(text)
    assert history["revision"] == history["before"]["start"]["revision"] == REVISION
    assert history["precision"] == "float16"
    # Filled in; the cache of a phase that comes later is none of this checkpoint's.
    assert history["data_seeds"] == {"data": [[0, 5]]}
    assert str(tmp_path) not in text
    card = (out / "README.md").read_text()
    assert f"Code at `{REVISION}`, seed 0, 41.5 minutes; 16 training samples of 4 ep" in card
    assert "| `data` | 0 to 5 |" in card
    assert "| policy | policy | `data` | 300 | 32 | 9600 |" in card
    assert "later" not in card and "nowhere" not in card
    assert "### Continued from" in card and card.count(REVISION) == 2
    assert "| `wrist/depth` | depth | 32 x 32 | 15 |" in card


def test_an_unknown_beginning_is_named(trained, tmp_path):
    out = tmp_path / "out"
    assert export(trained("run", start="gone"), out) == 0
    assert "`gone`; its history is not known." in (out / "README.md").read_text()


def test_a_report_goes_into_the_card(trained, tmp_path):
    folder, out = trained("run"), tmp_path / "out"
    assert export(folder, out) == 0
    assert "None is inserted." in (out / "README.md").read_text()
    policy = with_digest(str(out))
    (tmp_path / "report.md").write_text(REPORT)
    # Several times, for the order of metadata in a file of weights is anyone's guess.
    for _ in range(3):
        assert export(folder, out, "--report", tmp_path / "report.md") == 0
        assert with_digest(str(out)) == policy
    card = (out / "README.md").read_text()
    assert "## Evaluation in closed loop\n\nSome episodes.\n\n### In short\n\n| policy |" in card
    assert "# Closed-loop" not in card and "None is inserted." not in card


def test_other_weights_replace_those_that_are_there(trained, tmp_path):
    folder, out = trained("run"), tmp_path / "out"
    assert export(folder, out) == 0
    policy = with_digest(str(out))
    spoil(folder, "0.5")
    assert export(folder, out) == 0
    assert with_digest(str(out)) != policy
    assert load_checkpoint(out, SO101).model.state_proj.bias[0] == 0.5
    assert export(folder, out, "--precision", "float32") == 0
    assert load_checkpoint(out, SO101).model.state_proj.bias.dtype == torch.float32


def test_an_export_of_an_export_knows_as_much(trained, tmp_path):
    assert export(trained("run"), tmp_path / "out") == 0
    assert export(tmp_path / "out", tmp_path / "again") == 0
    first, second = (tmp_path / name / "training.json" for name in ("out", "again"))
    assert first.read_text() == second.read_text()


def spoil(folder, name):
    checkpoint = load_checkpoint(folder, SO101)
    with torch.no_grad():
        checkpoint.model.state_proj.bias[0] = float(name)
    save_checkpoint(
        folder, checkpoint.model, checkpoint.config, checkpoint.tokenizer, checkpoint.normalizer
    )


@pytest.mark.parametrize(
    ("wrong", "out", "said"),
    [
        (lambda folder: (folder / "training.json").unlink(), "out", r"training.json: No such file"),
        (
            lambda folder: (folder / "training.json").write_text("[]"),
            "out",
            "not what multismolvla",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "out", "no such file"),
        (lambda folder: spoil(folder, "1e6"), "out", "state_proj.bias has numbers that are not"),
        (lambda folder: spoil(folder, "nan"), "out", "state_proj.bias has numbers that are not"),
        (lambda folder: None, "run", "is the checkpoint itself; name another folder"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(
    trained, tmp_path, capsys, wrong, out, said
):
    folder = trained("run")
    wrong(folder)
    assert export(folder, tmp_path / out) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_example_observations_go_with_the_weights(trained, tmp_path):
    folder, out = trained("run"), tmp_path / "out"
    (folder / "examples.npz").write_bytes(b"as they are")
    assert export(folder, out) == 0
    assert (out / "examples.npz").read_bytes() == b"as they are"
