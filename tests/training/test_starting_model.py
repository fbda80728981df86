"""Where the weights of a run come from."""

import dataclasses

import pytest
import torch
from synthetic_cache import TABLE, write_cache

from multismolvla.data.cache import TrainingCache
from multismolvla.policy.checkpoint import save_checkpoint
from multismolvla.policy.config import tiny
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.streams import load_stream_table
from multismolvla.training.policy.recipe import (
    RELATIVE_JOINTS,
    ModelRecipe,
    PhaseRecipe,
    Recipe,
    RecipeError,
)
from multismolvla.training.policy.starting_model import starting_model

# Of the object tokens, what is written for the hand to read.
TOLD = ("write_object", "write_hand", "name")


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
        config = tiny(streams)
        config = dataclasses.replace(
            config,
            text=dataclasses.replace(config.text, vocab_size=1024),
            relative_joints=RELATIVE_JOINTS,
            period_s=cache.period_s,
            objects=cache.objects,
            **changes,
        )
        torch.manual_seed(seed)
        model = MultiSmolVLA(config)
        for parameter in model.parameters():  # what starts at zero or one as well
            torch.nn.init.normal_(parameter, std=0.1)
        tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
        normalizer = Normalizer(config, state_mean=torch.full((6,), state_mean))
        save_checkpoint(tmp_path / name, model, config, tokenizer, normalizer)
        return str(tmp_path / name)

    return write


def start(cache, streams, **model) -> tuple[dict[str, torch.Tensor], Normalizer | None]:
    recipe = Recipe(model=ModelRecipe(**model), phases=(PhaseRecipe("policy"),))
    made, _, normalizer = starting_model(recipe, streams, cache)
    return made.state_dict(), normalizer


def test_eyes_and_hand_are_joined(checkpoint, cache, streams):
    hand, eyes = checkpoint("hand", 1), checkpoint("eyes", 2)
    of_hand, of_eyes = (start(cache, streams, start=folder)[0] for folder in (hand, eyes))
    joined, normalizer = start(cache, streams, start=hand, eyes=eyes)
    assert normalizer is not None
    # Fixed embeddings are the same in all.
    learnt = {name for name in joined if not of_hand[name].equal(of_eyes[name])}
    told = {
        name for name in learnt if name.startswith(tuple(f"object_tokens.{part}" for part in TOLD))
    }
    eyes_own = {name for name in learnt if name.startswith(("visual.", "object_tokens."))} - told
    assert len(told) == 9 and len(eyes_own) > 50 and len(learnt - eyes_own) > 50
    for name in learnt:
        source = of_eyes if name in eyes_own else of_hand
        assert joined[name].equal(source[name]), name


def test_eyes_of_another_model_are_refused(checkpoint, cache, streams):
    hand, eyes = checkpoint("hand", 1), checkpoint("eyes", 2, view_tokens=False)
    with pytest.raises(RecipeError, match=r"model\.eyes: .*eyes is another model than model.start"):
        start(cache, streams, start=hand, eyes=eyes)


def test_eyes_that_know_other_joints_are_refused(checkpoint, cache, streams):
    hand, eyes = checkpoint("hand", 1), checkpoint("eyes", 2, state_mean=0.1)
    with pytest.raises(RecipeError, match=r"model\.eyes: .*eyes has another state_mean"):
        start(cache, streams, start=hand, eyes=eyes)


@pytest.mark.parametrize("given", [{}, {"start": "smolvla", "preset": "base"}])
def test_eyes_need_a_checkpoint_to_look_for(given):
    with pytest.raises(RecipeError, match="eyes is 'somewhere'"):
        ModelRecipe(eyes="somewhere", **given)


def test_a_run_on_fewer_streams_goes_on_from_a_checkpoint_with_more(checkpoint, cache, streams):
    seen = [stream for stream in streams if stream.kind == "rgb"]
    weights, _ = start(cache, seen, start=checkpoint("hand", 1), eyes=checkpoint("eyes", 2))
    assert weights["availability.weight"].shape[1] == len(seen) < len(streams)
    assert not any(".patches.depth." in name for name in weights)


def test_a_run_on_streams_that_a_checkpoint_never_saw_is_refused(checkpoint, cache, streams):
    strange = (*streams, dataclasses.replace(streams[0], name="front/rgb"))
    with pytest.raises(RecipeError, match=r"model\.start: .*; the recipe's data have .*front/rgb"):
        start(cache, strange, start=checkpoint("hand", 1))
