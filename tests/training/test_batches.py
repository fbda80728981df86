"""Batches: functions of seed and step, without the streams that are lost."""

import dataclasses

import numpy as np
import pytest
import torch
from synthetic_cache import ROWS, TABLE, write_cache

from multismolvla.data.cache import TrainingCache
from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.config import tiny
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.streams import load_stream_table
from multismolvla.training.policy import batches
from multismolvla.training.policy.batches import BatchMaker
from multismolvla.training.policy.loader import Loader
from multismolvla.training.policy.recipe import (
    AugmentRecipe,
    DropoutRecipe,
    PhaseRecipe,
)
from multismolvla.training.policy.run import LEAST_STD_RAD, make_normalizer

PHASE = PhaseRecipe(
    "policy",
    steps=10,
    batch_size=8,
    groups=2,
    draws=3,
    dropout=DropoutRecipe(schedule="fixed", rate=0.6),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return TrainingCache(write_cache(tmp_path_factory.mktemp("cache"), episodes=4, length=8))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "streams.yaml"
    path.write_text(TABLE)
    streams = tuple(load_stream_table(path))
    return dataclasses.replace(tiny(streams, SO101), relative_joints=SO101.joint_names[:-1])


def maker(cache, config, phase=PHASE, **options):
    samples = cache.split("train")
    normalizer = make_normalizer(config, KINEMATICS, cache, samples)
    tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
    return BatchMaker(
        cache, samples, config, tokenizer, normalizer, KINEMATICS, phase, (0, 0), **options
    )


def flat(groups):
    for group in groups:
        yield from group.frames.values()
        yield from (group.mask, group.state, group.actions, group.noise, group.time)
        yield from dataclasses.astuple(group.targets)


def test_a_batch_depends_on_its_step_alone(cache, config):
    one, other = maker(cache, config), maker(cache, config)
    for step in (0, 1):
        other.make(step)
    again = dict(Loader([other], 2, 5, workers=2))
    assert list(again) == [2, 3, 4]
    for first, second in zip(flat(one.make(3)), flat(again[3]), strict=True):
        assert torch.equal(first.nan_to_num(), second.nan_to_num())
    assert not torch.equal(one.make(3)[0].noise, one.make(4)[0].noise)


def test_an_epoch_shows_every_sample_once_and_processes_share_it(cache, config):
    makers = [maker(cache, config, rank=rank, processes=2) for rank in range(2)]
    count = len(cache.split("train"))
    assert count % 16 == 0
    seen = np.concatenate([m.chosen(step) for step in range(count // 16) for m in makers])
    assert sorted(seen) == sorted(cache.split("train"))


def test_what_a_group_lacks_is_not_prepared(cache, config):
    names = [stream.name for stream in config.streams]
    fewer = 0
    for step in range(5):
        for group in maker(cache, config).make(step):
            assert (group.mask == group.mask[0]).all() and group.mask.any()
            assert set(group.frames) == {n for n, m in zip(names, group.mask[0], strict=True) if m}
            assert group.lost[~group.mask].all()
            fewer += len(group.frames) < len(names)
    assert fewer


def masks_of(cache, config) -> torch.Tensor:
    """(steps, groups, B, S) bool."""
    made = (maker(cache, config).make(step) for step in range(5))
    return torch.stack([torch.stack([group.mask for group in groups]) for groups in made])


def test_samples_of_a_group_lose_their_own_streams_where_that_costs_nothing(cache, config):
    early = dataclasses.replace(config, fourm=dataclasses.replace(config.fourm, fusion="early"))
    own, shared = masks_of(cache, early), masks_of(cache, config)
    assert (shared == shared[:, :, :1]).all() and not shared.all()
    # Every group of four has samples that differ, unless chance has it otherwise.
    assert (own != own[:, :, :1]).any(dim=(2, 3)).float().mean() > 0.8
    assert own.any(dim=3).all()


@pytest.mark.parametrize("sequential", [True, False])
def test_only_what_follows_in_time_can_be_late(config, tmp_path, monkeypatch, sequential):
    """Damage is known by comparing with the plain frames; here stale ones are the only damage."""
    monkeypatch.setattr(batches, "corrupt", lambda rng, kind, frame: frame)
    source = TrainingCache(write_cache(tmp_path, episodes=4, length=8, sequential=sequential))
    still = AugmentRecipe(0.0, 0.0, 0, 0.0, 0.0, 0.0)
    damaged = DropoutRecipe(schedule="fixed", rate=0.9, soft_share=1.0)
    late, fresh = (
        maker(source, config, dataclasses.replace(PHASE, augment=still, dropout=dropout))
        for dropout in (damaged, DropoutRecipe(schedule="none"))
    )
    stale = 0
    for step in range(3):
        for one, two in zip(late.make(step), fresh.make(step), strict=True):
            assert one.lost.any() and not two.lost.any()
            for name, frame in two.frames.items():
                stale += int((one.frames[name] != frame).flatten(1).any(dim=1).sum())
    assert (stale > 0) is sequential


def test_a_stream_that_a_recording_lacks_is_masked(cache, config):
    # The arrays of a cache are read-only.
    class Lacking:
        def __getattr__(self, name):
            return getattr(cache, name)

        def array(self, name):
            if name != "mask":
                return cache.array(name)
            mask = cache.array("mask").copy()
            mask[:, 1:] = False
            return mask

    for group in maker(Lacking(), config).make(0):
        assert group.mask[:, 0].all() and not group.mask[:, 1:].any()


def test_relative_actions_are_offsets_from_the_true_state(cache, config):
    noisy = dataclasses.replace(PHASE, state_noise_rad=0.5, state_dropout=0.5)
    drawn = maker(cache, config, noisy)
    normalizer = make_normalizer(config, KINEMATICS, cache, cache.split("train"))
    (group, _) = drawn.make(0)
    radians = normalizer.unnormalize_action(group.actions, group.joints)
    chosen = drawn.chosen(0)[: len(group)]
    expected = torch.from_numpy(cache.array("chunk")[chosen])
    torch.testing.assert_close(radians, expected, atol=1e-4, rtol=1e-4)
    assert normalizer.action_mean.shape == (ROWS, 6)
    assert normalizer.action_std.min() >= LEAST_STD_RAD


def test_draws_of_one_observation_cover_the_flow(cache, config):
    times = torch.cat([group.time for group in maker(cache, config).make(0)])
    assert times.shape == (8, 3) and (times.diff(dim=1) > 0).all()
    assert times.min() > 0 and times.max() <= 1


def test_a_cache_without_a_stream_of_the_model_is_refused(cache, config, tmp_path):
    other = TrainingCache(write_cache(tmp_path, episodes=2, length=2, streams=("rgb",), held_out=1))
    with pytest.raises(ValueError, match="has no stream 'depth'"):
        maker(other, config)


@pytest.mark.parametrize("streams", [(), ("rgb",)])
def test_an_action_expert_phase_needs_no_stream_to_be_recorded(cache, config, tmp_path, streams):
    config = dataclasses.replace(config, objects=("red_cube",))
    blind = TrainingCache(write_cache(tmp_path, episodes=4, length=8, streams=streams))
    hand = dataclasses.replace(PHASE, kind="action_expert")
    for group in maker(blind, config, hand).make(3):
        assert not group.frames and group.scene.objects.shape[:2] == (4, 1)
        assert group.mask.shape == (4, len(config.streams)) and group.mask.any(1).all()
        # As in a recording that has them all, only dropout takes streams away.
        assert group.lost[~group.mask].all()
    everything = dataclasses.replace(hand, dropout=DropoutRecipe(schedule="none"))
    assert all(group.mask.all() for group in maker(blind, config, everything).make(0))
