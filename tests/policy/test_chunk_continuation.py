"""Rows of two chunks for the same instants, and a learned policy whose chunks continue."""

import copy
import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_inputs import NAMES, STREAMS, make_model

from multismolvla.embodiment.so101 import SO101
from multismolvla.policy.chunk_continuation import (
    REMEMBERED,
    WHOLE_OVERLAP,
    ChunkContinuation,
    rows_from,
    rows_until,
)
from multismolvla.policy.config import tiny
from multismolvla.policy.dry_run import synthetic_observation
from multismolvla.policy.learned_policy import LearnedPolicy
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.real_time_chunking import RealTimeChunking
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer

S = 10**9
ROWS, PERIOD_S = 10, 0.1
START_NS = 1_700_000_000 * S


def chunk(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((1, rows, 2), generator=torch.Generator().manual_seed(seed)).double()


def at(rows: torch.Tensor, where: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(where, np.arange(rows.shape[1]), d) for d in rows[0].T], axis=1)


@given(rows=st.integers(1, 12), offset=st.floats(0.0, 14.0))
def test_rows_are_the_last_chunk_s_at_the_same_instants(rows, offset):
    last = chunk(rows)
    found = rows_from(last, offset)
    covered = sum(k + Fraction(offset) <= rows - 1 for k in range(rows))
    assert found.shape == (1, covered, 2)
    np.testing.assert_allclose(found[0], at(last, offset + np.arange(found.shape[1])), atol=1e-9)


@given(rows=st.integers(1, 12), offset=st.integers(0, 12))
def test_whole_offsets_change_no_number(rows, offset):
    last = chunk(rows)
    assert torch.equal(rows_from(last, float(offset)), last[:, offset:])


@given(offset=st.floats(max_value=0.0, exclude_max=True))
def test_an_older_observation_has_no_rows(offset):
    assert rows_from(chunk(5), offset).shape == (1, 0, 2)


@given(seconds=st.floats(0.0, 20.0), share=st.floats(0.0, 1.0))
def test_the_held_rows_fix_the_path_until_then_and_no_fewer_do(seconds, share):
    period_s = 0.125
    held = rows_until(seconds, period_s)
    one, other = chunk(held + 2, seed=1), chunk(held + 2, seed=2)
    other[:, :held] = one[:, :held]
    before = np.array([seconds * share, seconds]) / period_s
    np.testing.assert_array_equal(at(one, before), at(other, before))
    other[:, held - 1] += 1.0
    # Nearer to a row than this, the last row's share is lost in the rounding.
    if not 0.0 < math.fmod(seconds / period_s, 1.0) < 1e-6:
        assert not np.array_equal(at(one, before), at(other, before))


def test_a_time_that_is_over_holds_the_row_of_the_instant():
    assert rows_until(-3.0, PERIOD_S) == rows_until(0.0, PERIOD_S) == 1


class Clock:
    """Moves on by `step_s` each time it is read, so an inference takes just that."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.ns, self.step_s = START_NS, step_s

    def __call__(self) -> int:
        now_ns = self.ns
        self.ns += round(self.step_s * S)
        return now_ns


class Recorded:
    """Stands for the guidance: what it was asked to continue."""

    def guide(self, velocity, previous, delay):
        return previous, delay


def continued(continuation, stamp_ns, task="pick"):
    """(previous, delay) that the inference for this observation is guided with, or None.

    The model's units are those of the chunk times a thousand.
    """
    guide = continuation.begin(stamp_ns, task, lambda rows: rows * 1000.0)
    return guide(None) if guide else None


def one_chunk(clock, step_s=0.0) -> ChunkContinuation:
    """After one inference that took `step_s`; the clock is back at the chunk's stamp."""
    continuation = ChunkContinuation(Recorded(), PERIOD_S, clock)
    clock.step_s = step_s
    assert continued(continuation, START_NS) is None, "the first chunk is free"
    continuation.end(START_NS, "pick", chunk(ROWS))
    clock.ns, clock.step_s = START_NS, 0.0
    return continuation


def test_rows_are_held_for_the_age_and_the_slowest_of_the_last_inferences():
    clock = Clock()
    continuation = one_chunk(clock, step_s=0.93)
    delays = []
    clock.ns += S // 2
    for _ in range(REMEMBERED + 1):
        clock.step_s = 0.13
        stamp_ns = clock.ns - S // 4
        delays.append(continued(continuation, stamp_ns)[1])
        continuation.end(stamp_ns, "pick", chunk(ROWS))
    # 0.25 + 0.93 s and 0.25 + 0.13 s, in rows of 0.1 s from row 0 to the one after them.
    assert delays == [13] * REMEMBERED + [5]


def test_without_the_stamps_clock_an_observation_counts_as_new():
    continuation = ChunkContinuation(Recorded(), 3600.0)
    continued(continuation, 0)
    continuation.end(0, "pick", chunk(ROWS))
    previous, delay = continued(continuation, 1800 * S)
    assert delay == 2
    np.testing.assert_allclose(previous[0] / 1000, at(chunk(ROWS), 0.5 + np.arange(ROWS - 1)))


def test_a_stamp_in_the_future_is_no_negative_age():
    clock = Clock()
    continuation = one_chunk(clock, step_s=0.25)
    assert continued(continuation, clock.ns + S // 2)[1] == rows_until(0.25, PERIOD_S)


@pytest.mark.parametrize(
    ("stamp_ns", "task", "rows"),
    [
        (START_NS, "pick", ROWS),
        (START_NS + S // 2, "pick", ROWS - 5),
        (START_NS + 9 * S // 10, "pick", 1),
        (START_NS + S, "pick", None),
        (START_NS - 1, "pick", None),
        (START_NS + S // 2, "place", None),
    ],
    ids=["same instant", "later", "last row", "a gap", "older", "another task"],
)
def test_what_a_chunk_continues(stamp_ns, task, rows):
    found = continued(one_chunk(Clock()), stamp_ns, task)
    assert (found and found[0].shape[1]) == rows


def test_a_chunk_that_is_not_finite_leaves_the_last_one_in_force():
    continuation = one_chunk(Clock())
    continued(continuation, START_NS + S // 10)
    continuation.end(START_NS + S // 10, "pick", chunk(ROWS) * math.nan)
    previous, _ = continued(continuation, START_NS + S // 5)
    assert torch.equal(previous, chunk(ROWS)[:, 2:] * 1000.0)


def test_so_does_an_inference_that_fails():
    continuation = one_chunk(Clock())
    continued(continuation, START_NS + S // 10, "place")
    previous, _ = continued(continuation, START_NS + S // 5)
    assert torch.equal(previous, chunk(ROWS)[:, 2:] * 1000.0)


def test_memory_that_the_sampler_uses_again_changes_nothing():
    continuation = ChunkContinuation(Recorded(), PERIOD_S, Clock())
    buffer = chunk(ROWS)
    continued(continuation, START_NS)
    continuation.end(START_NS, "pick", buffer)
    buffer.zero_()
    assert torch.equal(continued(continuation, START_NS)[0], chunk(ROWS) * 1000.0)


# The policy.

CONFIG = tiny(STREAMS, SO101)
CONFIG = dataclasses.replace(
    CONFIG,
    text=dataclasses.replace(CONFIG.text, vocab_size=1024),
    chunk_size=ROWS,
    period_s=PERIOD_S,
)
RTC = RealTimeChunking(horizon=WHOLE_OVERLAP)
LATENCY_S = 0.15


@pytest.fixture(scope="module")
def model():
    return make_model(CONFIG)


def policy_of(model, chunking=RTC, clock=None) -> LearnedPolicy:
    tokenizer = Tokenizer.load(SHIPPED_FILE, CONFIG.max_language_tokens)
    clock = clock or Clock(LATENCY_S)
    return LearnedPolicy(
        copy.deepcopy(model),
        tokenizer,
        Normalizer(CONFIG),
        SO101,
        seed=3,
        noise_scale=1.0,
        chunking=chunking,
        now_ns=clock,
    )


def seen(second: float, usable=NAMES, task="pick the cube"):
    """What is seen so many seconds after the start."""
    rng = np.random.default_rng(round(abs(second) * 1000))
    observation = synthetic_observation(STREAMS, usable, rng, SO101.home_rad)
    return dataclasses.replace(observation, stamp_ns=START_NS + round(second * S), task=task)


def off(first, second) -> np.ndarray:
    """(rows in common,) how far the second chunk is from the first at the same instants."""
    offset = (second.stamp_ns - first.stamp_ns) * 1e-9 / PERIOD_S
    rows = rows_from(torch.from_numpy(first.actions)[None], offset)[0].numpy()
    return np.abs(second.actions[: len(rows)] - rows).max(axis=1)


@pytest.mark.parametrize("offset_s", [0.0, 0.3, 0.34])
def test_the_rows_that_run_meanwhile_are_the_last_chunk_s(model, offset_s):
    clock = Clock(LATENCY_S)
    policy = policy_of(model, RTC, clock)
    first = policy.infer(seen(0.0))
    clock.ns = START_NS + round((offset_s + 0.08) * S)
    second = policy.infer(seen(offset_s))
    held = off(first, second)[: rows_until(0.08 + LATENCY_S, PERIOD_S)]
    assert len(held) == 4 and (held < 0.02).all()

    free = policy_of(model, None)
    first, second = free.infer(seen(0.0)), free.infer(seen(offset_s))
    assert (off(first, second)[:4] > 0.1).any(), "without guidance they are others"


def test_the_rows_after_them_are_pulled_and_those_beyond_the_last_chunk_are_new(model):
    clock = Clock()
    policy, free = policy_of(model, clock=clock), policy_of(model, None)
    first, second = policy.infer(seen(0.0)), policy.infer(seen(0.4))
    np.testing.assert_allclose(first.actions, free.infer(seen(0.0)).actions, atol=1e-5)
    pulled, unguided = off(first, second), off(first, free.infer(seen(0.4)))
    assert len(pulled) == ROWS - 4
    assert pulled[1:5].mean() < 0.7 * unguided[1:5].mean()
    assert pulled[-1] > 0.1


def test_a_slower_machine_holds_more_rows(model):
    def close(latency_s: float) -> float:
        policy = policy_of(model, clock=Clock(latency_s))
        first = policy.infer(seen(0.0))
        return off(first, policy.infer(seen(0.1))).max()

    assert close(2.0) < 0.02 < close(0.01)


def test_a_chunk_continues_whatever_streams_are_left(model):
    policy = policy_of(model)
    first, second = policy.infer(seen(0.0)), policy.infer(seen(0.2, usable=NAMES[:1]))
    assert (off(first, second)[:2] < 0.02).all()


@pytest.mark.parametrize(
    ("between", "observation"),
    [
        (lambda policy: None, seen(1.0)),
        (lambda policy: None, seen(-0.1)),
        (lambda policy: None, seen(0.2, task="open the gripper")),
        (lambda policy: policy.forget_chunk(), seen(0.2)),
        (lambda policy: policy.reset(), seen(0.2)),
    ],
    ids=["a gap", "an older observation", "a new task", "not executed", "a reset"],
)
def test_what_continues_nothing_is_a_first_chunk(model, between, observation):
    def second(chunking):
        policy = policy_of(model, chunking)
        policy.infer(seen(0.0))
        between(policy)
        return policy.infer(observation).actions

    np.testing.assert_allclose(second(RTC), second(None), atol=1e-6)


def test_few_steps_do_not_overshoot(model):
    few = make_model(dataclasses.replace(CONFIG, denoising_steps=2))
    policy = policy_of(few, dataclasses.replace(RTC, max_guidance_weight=100.0))
    chunks = [policy.infer(seen(0.1 * i)) for i in range(6)]
    assert max(np.abs(c.actions).max() for c in chunks) < 2 * np.abs(chunks[0].actions).max()


def test_a_refused_observation_leaves_the_last_chunk_in_force(model):
    policy = policy_of(model)
    first = policy.infer(seen(0.0))
    with pytest.raises(ValueError, match="instruction is empty"):
        policy.infer(seen(0.1, task=" "))
    assert (off(first, policy.infer(seen(0.2)))[:2] < 0.02).all()


def test_the_dry_run_measures_guided_chunks_and_leaves_none_behind(model, monkeypatch):
    policy, fresh = policy_of(model), policy_of(model)
    guided, guide = [], RealTimeChunking.guide
    monkeypatch.setattr(
        RealTimeChunking, "guide", lambda *args, **kw: guided.append(1) or guide(*args, **kw)
    )
    policy.dry_run()
    assert guided
    assert np.array_equal(policy.infer(seen(0.0)).actions, fresh.infer(seen(0.0)).actions)
    assert all(parameter.grad is None for parameter in model.parameters())
