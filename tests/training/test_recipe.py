"""Recipes: the shipped ones load, wrong ones say what is wrong."""

from pathlib import Path

import pytest

from multismolvla.embodiment.so101 import SO101
from multismolvla.policy.config import small
from multismolvla.streams import load_stream_table
from multismolvla.training.policy.recipe import RecipeError
from multismolvla.training.policy.recipe_file import changed, load_recipe

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted((ROOT / "config/training").glob("*.yaml")), ids=str)
def test_the_shipped_recipes_load(path):
    assert load_recipe(path).phases


def test_a_value_can_be_changed_from_the_command_line(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("phases: [{name: a, steps: 5}]")
    recipe = load_recipe(path, ["phases.0.learning_rate=1e-3", "data.cache=elsewhere"])
    assert recipe.phases[0].learning_rate == 1e-3 and recipe.data.cache == "elsewhere"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("phases: []", "phases is ()"),
        ("phases: [{name: a, stepz: 1}]", "unknown key 'phases[0].stepz'"),
        ("phases: [{name: a, steps: 0}]", "phases[0].steps is 0"),
        ("phases: [{name: a, batch_size: 10, groups: 4}]", "a divisor of batch_size"),
        ("phases: [{name: a, dropout: {rate: 2}}]", "dropout.rate is 2"),
        ("phases: [{name: a, ema: true}]", "ema is True"),
        ("phases: [{steps: 3}]", "missing key 'phases[0].name'"),
        ("phases: [{name: a}, {name: a}]", "different names"),
        ("phases: [{name: a, frozen_views: true}]", "auxiliary: 0"),
        ("phases: {", "not valid YAML"),
        ("3", "keys and values"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(tmp_path, text, reason):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert reason in str(error.value) and str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_preset_can_be_changed_deep_inside():
    config = small(tuple(load_stream_table(ROOT / "config/streams.yaml")), SO101)
    other = changed(config, {"fourm": {"patch_size": 16}, "tokens_per_view": 36})
    assert other.fourm.patch_size == 16 and other.fourm.dim == config.fourm.dim
    with pytest.raises(RecipeError, match=r"model\.overrides\.fourm\.patch"):
        changed(config, {"fourm": {"patch": 16}})
    with pytest.raises(RecipeError, match="expected something like 64"):
        changed(config, {"tokens_per_view": "many"})
