"""Tokens that say where things are."""

import dataclasses

import torch
from model_inputs import CONFIG, inputs, make_model

from multismolvla.policy.object_tokens import ObjectTokens

WITH_OBJECTS = dataclasses.replace(CONFIG, objects=("red_cube", "green_brick"))


def test_the_estimate_reaches_the_actions():
    model, given = make_model(WITH_OBJECTS), inputs()
    views, present = model.visual(given["frames"], given["mask"])
    rest = (given["mask"], given["language"], given["language_mask"], given["state"])
    estimate = model.object_tokens.estimate(views, present)
    moved = estimate._replace(objects=estimate.objects + 1.0)
    noise = torch.randn(1, CONFIG.chunk_size, CONFIG.max_action_dim)
    actions = [
        model.sample(model.read(views, present, *rest, estimate=given_estimate), noise)
        for given_estimate in (None, estimate, moved)
    ]
    assert torch.equal(actions[0], actions[1])
    assert not torch.allclose(actions[0], actions[2])


def test_a_view_that_is_not_there_is_not_looked_at():
    tokens = ObjectTokens(WITH_OBJECTS)
    views = torch.randn(2, 2, CONFIG.tokens_per_view, CONFIG.text.hidden_size)
    present = torch.tensor([[True, False], [True, True]])
    other = views.clone()
    other[0, 1] = 7.0
    for one, two in zip(
        tokens.estimate(views, present), tokens.estimate(other, present), strict=True
    ):
        assert torch.equal(one, two)


def test_without_any_view_the_numbers_are_finite():
    tokens = ObjectTokens(WITH_OBJECTS)
    views = torch.zeros(1, 2, CONFIG.tokens_per_view, CONFIG.text.hidden_size)
    estimate = tokens.estimate(views, torch.zeros(1, 2, dtype=torch.bool))
    assert tokens(estimate).isfinite().all() and estimate.objects.isfinite().all()
