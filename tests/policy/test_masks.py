"""What a mask promises: nothing of a masked stream gets through, everything of the others does."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_inputs import CONFIG, NAMES, STREAMS, inputs, make_model

from multismolvla.embodiment.so101 import KINEMATICS
from multismolvla.policy.model import MultiSmolVLA

EARLY = dataclasses.replace(CONFIG, fourm=dataclasses.replace(CONFIG.fourm, fusion="early"))
# The last one's language model reads object tokens and no views.
CONFIGS = {
    "late": CONFIG,
    "early": EARLY,
    "told": dataclasses.replace(EARLY, objects=("red_cube", "green_brick"), view_tokens=False),
}


@pytest.fixture(scope="module", params=CONFIGS)
def model(request) -> MultiSmolVLA:
    return make_model(CONFIGS[request.param])


def noise(batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, CONFIG.chunk_size, 6, generator=torch.Generator().manual_seed(2))


def actions(model: MultiSmolVLA, given: dict) -> torch.Tensor:
    with torch.no_grad():
        return model.sample(model.prefix(**given), noise(len(given["mask"])))


masks = st.lists(st.booleans(), min_size=8, max_size=8).map(lambda bits: torch.tensor([bits]))


@settings(max_examples=25, deadline=None)
@given(mask=masks, garbage=st.sampled_from([torch.nan, torch.inf, -torch.inf, 1e30]))
def test_a_masked_stream_has_no_influence_down_to_the_last_bit(model, mask, garbage):
    clean, dirty = {**inputs(), "mask": mask}, {**inputs(), "mask": mask}
    for i, name in enumerate(NAMES):
        if not mask[0, i]:
            dirty["frames"][name] = torch.full_like(dirty["frames"][name], garbage)
    assert torch.equal(actions(model, clean), actions(model, dirty))


def test_each_sample_of_a_batch_has_its_own_mask(model):
    mask = torch.tensor([[True] * 8, [False, True] * 4, [False] * 8])
    clean, dirty = {**inputs(3), "mask": mask}, {**inputs(3), "mask": mask}
    for i, name in enumerate(NAMES):
        dirty["frames"][name][~mask[:, i]] = torch.nan
    found = actions(model, clean)
    assert torch.equal(found, actions(model, dirty))
    for b in range(3):
        alone = {
            key: {n: f[b : b + 1] for n, f in part.items()} if key == "frames" else part[b : b + 1]
            for key, part in clean.items()
        }
        with torch.no_grad():
            expected = model.sample(model.prefix(**alone), noise(3)[b : b + 1])
        assert torch.allclose(found[b : b + 1], expected, atol=1e-5)


def test_a_masked_stream_may_be_absent(model):
    mask = torch.tensor([[True, False] * 4])
    whole, sparse = {**inputs(), "mask": mask}, {**inputs(), "mask": mask}
    for name in NAMES[1::2]:
        del sparse["frames"][name]
    assert torch.allclose(actions(model, whole), actions(model, sparse), atol=1e-6)


def test_no_stream_at_all_is_legal(model):
    blind = {**inputs(), "mask": torch.zeros(1, 8, dtype=torch.bool), "frames": {}}
    assert torch.isfinite(actions(model, blind)).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_stream_in_use_changes_the_actions(model, name):
    given = inputs()
    given["frames"][name].requires_grad_(True)
    model.sample(model.prefix(**given), noise()).sum().backward()
    gradient = given["frames"][name].grad
    assert torch.isfinite(gradient).all()
    # Every patch of it, not only some.
    assert (gradient.abs().amax(dim=(0, 1)).unfold(0, 8, 8).unfold(1, 8, 8).amax((2, 3)) > 0).all()

    swapped = inputs()
    swapped["frames"][name] = inputs(seed=3)["frames"][name]
    assert not torch.equal(actions(model, inputs()), actions(model, swapped))


@pytest.mark.parametrize("i", range(8))
def test_a_mask_alone_changes_the_actions(model, i):
    lost = inputs()
    lost["mask"][0, i] = False
    assert not torch.equal(actions(model, inputs()), actions(model, lost))


def test_the_availability_token_tells_what_is_there(model):
    # The same view tokens, another mask: only the availability token differs.
    given = inputs()
    views, present = model.visual(given["frames"], given["mask"])
    rest = given["language"], given["language_mask"], given["state"]
    other = given["mask"].clone()
    other[0, 2] = False
    first, second = (model.read(views, present, m, *rest).cache for m in (given["mask"], other))
    assert not torch.equal(first[-1][0], second[-1][0])


def test_the_order_of_the_table_does_not_matter(model):
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    config = dataclasses.replace(model.config, streams=tuple(STREAMS[i] for i in order))
    # The view of the first stream stays the first view, so that view tokens keep their places.
    assert config.views == CONFIG.views
    other = MultiSmolVLA(config, KINEMATICS).eval()
    weights = dict(model.state_dict())
    weights["availability.weight"] = weights["availability.weight"][:, order]
    other.load_state_dict(weights)
    given = inputs()
    given["mask"][0, 3] = False
    permuted = {**given, "mask": given["mask"][:, order]}
    assert torch.allclose(actions(model, given), actions(other, permuted), atol=1e-5)


@pytest.mark.parametrize("chosen", [[0], [2], [1, 5], [0, 3, 4]])
def test_any_number_of_streams_makes_a_model(chosen):
    model = make_model(dataclasses.replace(CONFIG, streams=tuple(STREAMS[i] for i in chosen)))
    given = inputs()
    given["frames"] = {NAMES[i]: given["frames"][NAMES[i]] for i in chosen}
    given["mask"] = given["mask"][:, chosen]
    assert actions(model, given).shape == (1, CONFIG.chunk_size, 6)


def test_padded_language_and_state_of_others_do_not_leak(model):
    given = inputs()
    padded = {
        **given,
        "language": torch.cat((given["language"], torch.tensor([[7, 7]])), dim=1),
        "language_mask": torch.tensor([[True] * 5 + [False] * 2]),
    }
    assert torch.allclose(actions(model, given), actions(model, padded), atol=1e-5)
