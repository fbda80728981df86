"""Which streams a sample loses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.modalities.registry import kinds
from multismolvla.streams import Stream
from multismolvla.training.policy.dropout_curriculum import draw_hard, draw_soft, rate_at
from multismolvla.training.policy.recipe import DropoutRecipe

STREAMS = tuple(
    Stream(f"{view}{kind}", kind, 8, 8, 15.0, "optical_frame")
    for view in ("", "wrist/")
    for kind in kinds()
)
RATES = st.floats(0.0, 1.0)


@given(st.integers(0, 2**31), RATES, RATES, st.integers(1, 8))
def test_a_sample_never_loses_all_its_streams(seed, rate, soft_share, count):
    rng, recipe = np.random.default_rng(seed), DropoutRecipe(soft_share=soft_share)
    hard = draw_hard(rng, STREAMS[:count], recipe, rate)
    assert not hard.all()
    soft = draw_soft(rng, np.tile(hard, (5, 1)), recipe, rate)
    assert not (soft & hard).any() and not (soft | hard).all(axis=1).any()


def test_half_of_the_losses_are_hard_and_half_soft():
    rng, recipe = np.random.default_rng(0), DropoutRecipe()
    hard = np.stack([draw_hard(rng, STREAMS, recipe, 0.5) for _ in range(4000)])
    soft = draw_soft(rng, hard, recipe, 0.5)
    np.testing.assert_allclose(hard.mean(axis=0), 0.25, atol=0.03)
    np.testing.assert_allclose(soft.mean(axis=0), 0.25, atol=0.03)


def test_a_single_modality_is_left_often_enough_to_be_learnt():
    rng, recipe = np.random.default_rng(0), DropoutRecipe()
    left = ~np.stack([draw_hard(rng, STREAMS, recipe, 0.5) for _ in range(4000)])
    there = [left[:, [s.kind == k for s in STREAMS]].any(axis=1) for k in kinds()]
    assert (np.stack(there, axis=1).sum(axis=1) == 1).mean() > 0.04


def test_what_tells_least_can_be_left_alone_more_often():
    def shares(alone):
        rng = np.random.default_rng(0)
        recipe = DropoutRecipe(by_stream=0.0, by_modality=1.0, by_view=0.0, alone=alone)
        left = ~np.stack([draw_hard(rng, STREAMS, recipe, 0.5) for _ in range(4000)])[:, :4]
        return left[left.sum(axis=1) == 1].mean(axis=0)

    depth = kinds().index("depth")
    np.testing.assert_allclose(shares({}), 0.25, atol=0.05)
    more = shares({"depth": 4.0})
    assert more[depth] > 0.5
    np.testing.assert_allclose(np.delete(more, depth), (1 - more[depth]) / 3, atol=0.05)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("none", (0, 0, 0)), ("fixed", (0.5,) * 3), ("curriculum", (0, 0.5, 0.5))],
)
def test_the_rate_follows_its_schedule(schedule, rates):
    recipe = DropoutRecipe(schedule=schedule, rate=0.5, ramp=0.5)
    assert tuple(rate_at(recipe, p) for p in (0.0, 0.5, 1.0)) == rates
