"""The path from actions to noise."""

import numpy as np
import pytest
import torch

from multismolvla.policy.flow_matching import flow_time, interpolate, target_velocity


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def residual(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 5, 8, generator=seeded(seed))


def test_times_follow_the_beta_distribution_of_smolvla():
    beta = (flow_time(np.random.default_rng(0).random(200_000)) - 0.001) / 0.999
    # Distribution function of Beta(1.5, 1): x^1.5. Its mean is 0.6.
    for x in (0.1, 0.3, 0.5, 0.7, 0.9):
        assert (beta <= x).mean() == pytest.approx(x**1.5, abs=0.005)
    assert beta.mean() == pytest.approx(0.6, abs=0.003)


def test_times_stay_away_from_the_actions():
    ends = flow_time(np.array([0.0, 1.0]))
    np.testing.assert_allclose(ends, [0.001, 1.0], atol=1e-12)


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
