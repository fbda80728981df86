"""The path from actions to noise, and the loss along it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.policy.flow_matching import (
    flow_matching_loss,
    interpolate,
    sample_time,
    target_velocity,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def residual(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 5, 8, generator=seeded(seed))


def test_times_follow_the_beta_distribution_of_smolvla():
    beta = (sample_time(200_000, seeded()).double() - 0.001) / 0.999
    # Distribution function of Beta(1.5, 1): x^1.5. Its mean is 0.6.
    for x in (0.1, 0.3, 0.5, 0.7, 0.9):
        assert (beta <= x).double().mean().item() == pytest.approx(x**1.5, abs=0.005)
    assert beta.mean().item() == pytest.approx(0.6, abs=0.003)


def test_times_stay_away_from_the_actions_and_repeat_with_their_seed():
    times = sample_time(1_000_000, seeded(3))
    assert 0.001 <= times.min() < 0.0015 and 0.9995 < times.max() <= 1.0
    assert times.dtype == torch.float32
    assert torch.equal(times, sample_time(1_000_000, seeded(3)))
    assert not torch.equal(times, sample_time(1_000_000, seeded(4)))


def test_the_path_runs_from_actions_to_noise_at_the_target_velocity():
    actions, noise = residual(1), residual(2)
    at = [interpolate(actions, noise, torch.full((3,), t)) for t in (0.0, 1.0, 0.5, 0.25)]
    assert torch.equal(at[0], actions) and torch.equal(at[1], noise)
    slope = (at[2] - at[3]) / 0.25
    torch.testing.assert_close(slope, target_velocity(actions, noise), atol=1e-5, rtol=0)


def test_each_sample_has_its_own_time():
    actions, noise = residual(1), residual(2)
    x = interpolate(actions, noise, torch.tensor([0.0, 0.3, 1.0]))
    assert torch.equal(x[0], actions[0]) and torch.equal(x[2], noise[2])


def test_the_loss_without_padding_is_the_mean_square():
    r = residual()
    torch.testing.assert_close(flow_matching_loss(r, 8), r.square().mean())


@settings(deadline=None)
@given(rows=st.lists(st.integers(0, 5), min_size=3, max_size=3), dim=st.integers(1, 8))
def test_only_the_robot_s_dimensions_and_valid_rows_count(rows, dim):
    r, valid = residual(), torch.arange(5)[None] < torch.tensor(rows)[:, None]
    spoiled = r.clone()
    spoiled[~valid] = torch.nan
    spoiled[..., dim:] = torch.nan
    kept = [r[b, :n, :dim].flatten() for b, n in enumerate(rows)]
    expected = torch.cat(kept).square().mean() if sum(rows) else torch.zeros(())
    torch.testing.assert_close(flow_matching_loss(spoiled, dim, valid), expected)


def test_padding_gets_no_gradient():
    r = residual().requires_grad_()
    valid = torch.arange(5)[None] < torch.tensor([5, 2, 0])[:, None]
    flow_matching_loss(r, 6, valid).backward()
    touched = r.grad != 0
    assert touched[..., :6][valid].all()
    assert not touched[..., 6:].any() and not touched[~valid].any()


def test_a_sample_of_weight_two_counts_as_two_samples():
    r = residual()
    twice = torch.cat((r, r[:1]))
    weighted = flow_matching_loss(r, 8, weights=torch.tensor([2.0, 1.0, 1.0]))
    torch.testing.assert_close(weighted, flow_matching_loss(twice, 8))


def test_a_sample_of_weight_zero_is_left_out():
    r = residual()
    weighted = flow_matching_loss(r, 8, weights=torch.tensor([0.0, 1.0, 1.0]))
    torch.testing.assert_close(weighted, flow_matching_loss(r[1:], 8))


def test_nothing_valid_gives_zero_and_a_zero_gradient():
    r = residual().requires_grad_()
    loss = flow_matching_loss(r, 8, torch.zeros(3, 5, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and not r.grad.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action_dim": 9}, "action_dim is 9; expected 1 to 8"),
        ({"action_dim": 0}, "action_dim is 0"),
        ({"action_dim": 8, "valid": torch.ones(3, 1, dtype=torch.bool)}, "valid has shape"),
        ({"action_dim": 8, "weights": torch.ones(3, 1)}, "weights have shape"),
    ],
)
def test_shapes_that_would_broadcast_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        flow_matching_loss(residual(), **options)
