"""Integration of the flow from noise to actions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.policy.solvers import SOLVERS, solve

NOISE = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def growth(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """dx/dt = 2 t x, so x(0) = x(1) / e."""
    return 2.0 * t[:, None, None] * x


def error(name: str, steps: int) -> float:
    return (solve(name, growth, NOISE, steps) - NOISE / math.e).abs().max().item()


@pytest.mark.parametrize("name", SOLVERS)
def test_the_error_falls_with_the_order_that_is_stated(name):
    measured = math.log2(error(name, 64) / error(name, 128))
    assert measured == pytest.approx(SOLVERS[name].order, abs=0.1)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_cost_is_the_one_that_is_stated(name):
    times = []

    def counted(x, t):
        times.append(t)
        return growth(x, t)

    solve(name, counted, NOISE, 7)
    assert len(times) == 7 * SOLVERS[name].evaluations_per_step
    assert all(t.shape == (2,) and t.min() >= 0 and t.max() <= 1 for t in times)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(1, 40),
    values=st.lists(st.floats(-10, 10), min_size=4, max_size=4),
    name=st.sampled_from(sorted(SOLVERS)),
)
def test_a_straight_flow_is_exact_in_any_number_of_steps(steps, values, name):
    actions = torch.tensor(values, dtype=torch.float64).expand(2, 3, 4)
    end = solve(name, lambda x, t: NOISE - actions, NOISE, steps)
    torch.testing.assert_close(end, actions, atol=1e-12, rtol=1e-12)


def test_euler_is_the_hand_formula_to_the_bit():
    noise = NOISE.float()
    x, seen = noise, []
    for k in range(10):
        t = torch.full((2,), 1.0 + k * -0.1)
        seen.append(t)
        x = x + -0.1 * growth(x, t)
    times = []

    def recorded(x, t):
        times.append(t)
        return growth(x, t)

    assert torch.equal(solve("euler", recorded, noise, 10), x)
    assert all(torch.equal(a, b) for a, b in zip(times, seen, strict=True))


def test_adams_bashforth_beats_euler_at_the_same_price():
    assert error("adams_bashforth", 10) < 0.3 * error("euler", 10)


def test_time_is_never_coarser_than_float32():
    types = []

    def recorded(x, t):
        types.append(t.dtype)
        return x

    solve("euler", recorded, NOISE.bfloat16(), 3)
    assert set(types) == {torch.float32}


def test_the_noise_stays_as_it_is():
    before = NOISE.clone()
    for name in SOLVERS:
        solve(name, growth, NOISE, 3)
    assert torch.equal(NOISE, before)


def test_an_unknown_solver_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'rk45'.*euler, adams_bashforth"):
        solve("rk45", growth, NOISE, 3)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="steps is 0; expected at least 1"):
        solve("euler", growth, NOISE, 0)
