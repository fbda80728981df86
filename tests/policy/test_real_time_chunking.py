"""Guidance of a new chunk by the one being executed."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from multismolvla.embodiment.so101 import SO101
from multismolvla.policy.lerobot_checkpoint import load_lerobot
from multismolvla.policy.real_time_chunking import RealTimeChunking, row_weights
from multismolvla.policy.solvers import SOLVERS, solve

GOLDEN = Path(__file__).parents[1] / "golden" / "smolvla_tiny"

ROWS, WIDTH, KNOWN, DELAY, HORIZON = 8, 3, 6, 2, 5


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MIX = 0.3 * drawn(ROWS, ROWS, seed=0)
NOISE = drawn(2, ROWS, WIDTH, seed=1)
PREVIOUS = drawn(2, KNOWN, WIDTH, seed=2)


def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Not linear, and every row depends on every other, as in a transformer."""
    return torch.tanh(MIX @ x) * (1.0 + t[:, None, None]) + 0.5 * x


def apart(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Every number depends on itself alone."""
    return torch.tanh(x) * t[:, None, None]


def paper(x: torch.Tensor, t: float, weights: torch.Tensor, beta: float) -> torch.Tensor:
    """Equations 2 to 4 in the paper's own time and sign, with the whole Jacobian written out."""
    tau = 1.0 - t
    goal = torch.zeros_like(x[0])
    goal[:KNOWN] = PREVIOUS[0]

    def expected(flat: torch.Tensor) -> torch.Tensor:
        sample = flat.view(1, ROWS, WIDTH)
        forward = -velocity(sample, torch.tensor([t], dtype=torch.float64))
        return (sample + (1.0 - tau) * forward).flatten()

    flat = x[0].flatten()
    jacobian = torch.autograd.functional.jacobian(expected, flat)
    error = goal.flatten() - expected(flat)
    vjp = (error * weights.repeat_interleave(WIDTH)) @ jacobian
    r_squared = (1.0 - tau) ** 2 / (tau**2 + (1.0 - tau) ** 2)
    guidance = min(beta, (1.0 - tau) / (tau * r_squared)) if tau > 0 else beta
    forward = -velocity(x[:1], torch.tensor([t], dtype=torch.float64))
    return -(forward + guidance * vjp.view(1, ROWS, WIDTH))


def test_the_weights_between_delay_and_horizon_are_the_paper_s():
    between = [c * (math.exp(c) - 1) / (math.e - 1) for c in (0.75, 0.5, 0.25)]
    torch.testing.assert_close(row_weights(2, 5, 7), torch.tensor([1, 1, *between, 0, 0]))


@settings(deadline=None)
@given(
    delay=st.integers(0, 12),
    horizon=st.integers(0, 12),
    rows=st.integers(1, 12),
)
def test_weights_fall_from_one_to_zero_whatever_the_order_of_delay_and_horizon(
    delay, horizon, rows
):
    weights = row_weights(delay, horizon, rows)
    assert (weights[:delay] == 1).all()
    assert (weights[max(delay, horizon) :] == 0).all()
    assert (weights.diff() <= 0).all()


@pytest.mark.parametrize("t", [1.0, 0.7, 0.5, 0.1, 0.02])
def test_the_correction_is_the_paper_s(t):
    chunking = RealTimeChunking(HORIZON)
    guided = chunking.guide(velocity, PREVIOUS[:1], DELAY)
    weights = row_weights(DELAY, HORIZON, ROWS).double()
    torch.testing.assert_close(
        guided(NOISE[:1], torch.tensor([t], dtype=torch.float64)),
        paper(NOISE[:1], t, weights, 10.0),
        atol=1e-5,  # the weights of the rows are float32
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_frozen_rows_come_within_a_tenth_of_their_distance(name):
    guided = RealTimeChunking(HORIZON).guide(velocity, PREVIOUS, DELAY)

    def distance(v) -> float:
        end = solve(name, v, NOISE, 10)
        return (end[:, :DELAY] - PREVIOUS[:, :DELAY]).norm().item()

    assert distance(guided) < 0.1 * distance(velocity)


@torch.no_grad()
def test_on_smolvla_the_rows_are_held():
    golden = load_file(GOLDEN / "golden.safetensors")
    model, _ = load_lerobot(GOLDEN, SO101, units="radians")
    prefix = model.prefix(
        {s.name: golden[f"mid.image_prepared{i}"] for i, s in enumerate(model.config.streams)},
        torch.ones(1, 2, dtype=torch.bool),
        golden["in.lang_tokens"],
        golden["in.lang_mask"],
        torch.nn.functional.pad(golden["in.state"], (0, 32 - 6)),
    )
    previous = golden["rtc.prev_chunk_left_over"]

    guided = RealTimeChunking(horizon=5).guide(
        lambda x, t: model.velocity(prefix, x, t), previous, delay=2
    )
    chunk = solve("euler", guided, golden["in.noise"], 10)[..., :6]
    held = previous[:, :2, :6]
    unguided = (golden["out.actions"][:, :2] - held).norm()
    assert (chunk[:, :2] - held).norm() < 0.05 * unguided


def test_each_sample_follows_its_own_previous_chunk_at_its_own_time():
    guided = RealTimeChunking().guide(velocity, PREVIOUS, DELAY)
    t = torch.tensor([0.9, 0.2], dtype=torch.float64)
    both = guided(NOISE, t)
    for b in range(2):
        alone = RealTimeChunking().guide(velocity, PREVIOUS[b : b + 1], DELAY)
        torch.testing.assert_close(both[b : b + 1], alone(NOISE[b : b + 1], t[b : b + 1]))


def test_rows_and_dimensions_that_the_previous_chunk_lacks_are_free():
    t = torch.full((2,), 0.5, dtype=torch.float64)
    short = PREVIOUS[:, :3, :2]
    guided = RealTimeChunking(99).guide(apart, short, 99)
    change = (guided(NOISE, t) - apart(NOISE, t)) != 0
    assert change[:, :3, :2].all()
    assert not change[:, 3:].any() and not change[..., 2:].any()


def test_weight_zero_is_plain_sampling():
    guided = RealTimeChunking(max_guidance_weight=0.0).guide(velocity, PREVIOUS, DELAY)
    assert torch.equal(solve("euler", guided, NOISE, 5), solve("euler", velocity, NOISE, 5))


@pytest.mark.parametrize(
    ("chunking", "previous", "delay"),
    [
        (RealTimeChunking(), PREVIOUS[:, :0], 3),
        (RealTimeChunking(horizon=0), PREVIOUS, 0),
    ],
)
def test_nothing_to_hold_costs_nothing(chunking, previous, delay):
    assert chunking.guide(velocity, previous, delay) is velocity


@pytest.mark.parametrize("t", [0.0, 1.0])
def test_both_ends_of_the_flow_are_finite(t):
    guided = RealTimeChunking().guide(velocity, PREVIOUS, DELAY)
    assert guided(NOISE, torch.full((2,), t, dtype=torch.float64)).isfinite().all()


def test_exact_guidance_works_without_gradients_around_it_and_leaves_none_behind():
    gain = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def learned(x, t):
        return velocity(x, t) * gain

    guided = RealTimeChunking().guide(learned, PREVIOUS, DELAY)
    with torch.no_grad():
        quiet = solve("euler", guided, NOISE, 4)
    loud = solve("euler", guided, NOISE, 4)
    assert torch.equal(quiet, loud) and not loud.requires_grad
    assert gain.grad is None and not NOISE.requires_grad


def test_inference_mode_is_refused_with_the_way_out():
    guided = RealTimeChunking().guide(velocity, PREVIOUS, DELAY)
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"use torch\.no_grad"):
        solve("euler", guided, NOISE, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": -1}, "horizon is -1"),
        ({"max_guidance_weight": -1.0}, r"max_guidance_weight is -1\.0"),
        ({"max_guidance_weight": math.nan}, "max_guidance_weight is nan"),
        ({"max_guidance_weight": math.inf}, "max_guidance_weight is inf"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RealTimeChunking(**options)


def test_a_negative_delay_is_refused():
    with pytest.raises(ValueError, match="delay is -1"):
        RealTimeChunking().guide(velocity, PREVIOUS, -1)
