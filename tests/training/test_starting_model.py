"""Where the weights of a run come from."""

import dataclasses

import pytest
import torch
from synthetic_cache import TABLE, write_cache

from multismolvla.data.cache import TrainingCache
from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.checkpoint import save_checkpoint
from multismolvla.policy.config import tiny
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.streams import load_stream_table
from multismolvla.training.policy.recipe import (
    ModelRecipe,
    PhaseRecipe,
    Recipe,
    RecipeError,
)
from multismolvla.training.policy.starting_model import starting_model

# Of the object tokens, what the action expert reads.
READ = ("write_object", "write_hand", "name")


@pytest.fixture
def cache(tmp_path):
    return TrainingCache(write_cache(tmp_path / "cache", episodes=3, length=2))


@pytest.fixture
def streams(tmp_path):
    (tmp_path / "streams.yaml").write_text(TABLE)
    return tuple(load_stream_table(tmp_path / "streams.yaml"))


@pytest.fixture
def checkpoint(tmp_path, cache, streams):
    """Writes a checkpoint of random weights; returns its folder."""

    def write(name: str, seed: int, state_mean: float = 0.0, **changes) -> str:
        config = tiny(streams, SO101)
        config = dataclasses.replace(
            config,
            text=dataclasses.replace(config.text, vocab_size=1024),
            relative_joints=SO101.joint_names[:-1],
            period_s=cache.period_s,
            objects=cache.objects,
            **changes,
        )
        torch.manual_seed(seed)
        model = MultiSmolVLA(config, KINEMATICS)
        for parameter in model.parameters():  # what starts at zero or one as well
            torch.nn.init.normal_(parameter, std=0.1)
        tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
        normalizer = Normalizer(config, KINEMATICS, state_mean=torch.full((6,), state_mean))
        save_checkpoint(tmp_path / name, model, config, tokenizer, normalizer)
        return str(tmp_path / name)

    return write


def start(cache, streams, **model) -> tuple[dict[str, torch.Tensor], Normalizer | None]:
    recipe = Recipe(model=ModelRecipe(**model), phases=(PhaseRecipe("policy"),))
    made, _, normalizer = starting_model(recipe, streams, cache, SO101)
    return made.state_dict(), normalizer


def test_encoder_and_action_expert_are_joined(checkpoint, cache, streams):
    expert, encoder = checkpoint("expert", 1), checkpoint("encoder", 2)
    of_expert, of_encoder = (start(cache, streams, start=folder)[0] for folder in (expert, encoder))
    joined, normalizer = start(cache, streams, start=expert, encoder=encoder)
    assert normalizer is not None
    # Fixed embeddings are the same in all.
    learnt = {name for name in joined if not of_expert[name].equal(of_encoder[name])}
    read = {
        name for name in learnt if name.startswith(tuple(f"object_tokens.{part}" for part in READ))
    }
    own = {name for name in learnt if name.startswith(("visual.", "object_tokens."))} - read
    assert len(read) == 9 and len(own) > 50 and len(learnt - own) > 50
    for name in learnt:
        source = of_encoder if name in own else of_expert
        assert joined[name].equal(source[name]), name


def test_an_encoder_of_another_model_is_refused(checkpoint, cache, streams):
    expert, encoder = checkpoint("expert", 1), checkpoint("encoder", 2, view_tokens=False)
    with pytest.raises(
        RecipeError, match=r"model\.encoder: .*encoder is another model than model.start"
    ):
        start(cache, streams, start=expert, encoder=encoder)


def test_an_encoder_with_other_state_statistics_is_refused(checkpoint, cache, streams):
    expert, encoder = checkpoint("expert", 1), checkpoint("encoder", 2, state_mean=0.1)
    with pytest.raises(RecipeError, match=r"model\.encoder: .*encoder has another state_mean"):
        start(cache, streams, start=expert, encoder=encoder)


@pytest.mark.parametrize("given", [{}, {"start": "smolvla", "preset": "base"}])
def test_an_encoder_needs_a_checkpoint_that_it_joins(given):
    with pytest.raises(RecipeError, match=r"model\.encoder is 'somewhere'"):
        ModelRecipe(encoder="somewhere", **given)


def test_a_run_on_fewer_streams_goes_on_from_a_checkpoint_with_more(checkpoint, cache, streams):
    seen = [stream for stream in streams if stream.kind == "rgb"]
    weights, _ = start(cache, seen, start=checkpoint("expert", 1), encoder=checkpoint("encoder", 2))
    assert weights["availability.weight"].shape[1] == len(seen) < len(streams)
    assert not any(".patches.depth." in name for name in weights)


def test_a_run_on_streams_that_a_checkpoint_never_saw_is_refused(checkpoint, cache, streams):
    strange = (*streams, dataclasses.replace(streams[0], name="front/rgb"))
    with pytest.raises(RecipeError, match=r"model\.start: .*; the recipe's data have .*front/rgb"):
        start(cache, strange, start=checkpoint("expert", 1))
