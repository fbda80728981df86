"""The closed loop: settings as live, the expert in it, and what damage does to a policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multismolvla.embodiment.so101 import SO101
from multismolvla.evaluation.episode import run_episode
from multismolvla.evaluation.outcome import EpisodeKey
from multismolvla.faults.conditions import Condition, middle_s, parse_condition
from multismolvla.interfaces import ActionChunk
from multismolvla.sim.expert_policy import ExpertPolicy
from multismolvla.stack import closed_loop
from multismolvla.stack.closed_loop import ClosedLoop
from multismolvla.stack.policy_loading import committed_s
from multismolvla.stack.worlds import WORLDS
from multismolvla.streams import StreamTable, load_stream_table

CONFIG = Path(__file__).parents[2] / "config"
TABLE = load_stream_table(CONFIG / "streams.yaml")
# Small pictures of two kinds: enough to lose one.
EYES = StreamTable(
    tuple(replace(TABLE[name], height=48, width=48) for name in ("rgb", "depth", "wrist/rgb"))
)
KEY = EpisodeKey("expert", "clean", "red_cube_in_bin", 100_007)
CLEAN = Condition("clean")


@pytest.fixture(scope="module")
def blind():
    return ClosedLoop(StreamTable(()))


@pytest.fixture(scope="module")
def seeing():
    loop = ClosedLoop(EYES)
    yield loop
    loop.close()


class Still:
    """Stays at home and remembers what it was shown."""

    def __init__(self) -> None:
        self.observations = []

    def infer(self, observation):
        self.observations.append(observation)
        return ActionChunk(observation.stamp_ns, 1 / 30, np.tile(SO101.home_rad, (20, 1)))

    def reset(self) -> None:
        self.observations.clear()


@pytest.fixture
def short(monkeypatch):
    """Episodes of three seconds."""
    monkeypatch.setattr(closed_loop, "DEFAULT_MAX_STEPS", {"object": 90})


def test_the_expert_succeeds_and_again_in_the_same_way(blind):
    first = run_episode(blind, ExpertPolicy(), KEY, CLEAN)
    assert first.success and first.policy_error == "" and first.starved_ticks == 0
    assert 1.0 < first.duration_s < 20.0 and first.inferences >= 2 and first.jerk_rad_s3 > 0.0
    assert run_episode(blind, ExpertPolicy(), KEY, CLEAN) == first


def test_the_synchronous_arm_waits_for_each_chunk(blind):
    slow = replace(KEY, latency_s=0.8)
    synchronous = replace(slow, execution="synchronous")
    waiting = run_episode(blind, ExpertPolicy(committed_s(0.8, waits=True)), synchronous, CLEAN)
    going_on = run_episode(blind, ExpertPolicy(committed_s(0.8)), slow, CLEAN)
    assert waiting.success and going_on.success
    # About 0.8 s, 40 control periods, after every chunk but the first and the last.
    assert waiting.starved_ticks >= 38 * (waiting.inferences - 1)
    assert going_on.starved_ticks == 0
    assert waiting.duration_s > going_on.duration_s


def test_a_synchronous_robot_can_ask_more_often(blind):
    whole = replace(KEY, execution="synchronous")
    half = run_episode(blind, ExpertPolicy(0.0), replace(whole, queue_threshold=0.5), CLEAN)
    assert half.success
    assert half.inferences > run_episode(blind, ExpertPolicy(0.0), whole, CLEAN).inferences


def test_a_policy_that_always_fails_is_a_failed_episode(blind, short):
    class Broken(Still):
        def infer(self, observation):
            raise RuntimeError("no\nidea")

    outcome = run_episode(blind, Broken(), KEY, CLEAN)
    assert not outcome.success and outcome.inferences == 0
    assert outcome.policy_error == "RuntimeError: no idea"


def test_a_loss_in_the_middle_is_masked_and_asked_about_at_once(seeing, short):
    policy, condition = Still(), parse_condition("drop:rgb@mid", EYES)
    outcome = run_episode(seeing, policy, replace(KEY, condition=condition.name), condition)
    assert outcome.onset_s == pytest.approx(
        middle_s(KEY.task, "object", KEY.seed, WORLDS["tabletop"].middle_s), abs=1e-3
    )
    # Two periods of the camera, and a little for the second look.
    assert 0.06 < outcome.masked_after_s["rgb"] < 0.2
    assert outcome.false_mask_share == 0.0 and outcome.hold_share == 0.0
    before, after = policy.observations[0], policy.observations[-1]
    assert before.mask["rgb"] and before.frames["rgb"].shape == (48, 48, 3)
    assert not after.mask["rgb"] and after.frames["rgb"] is None
    assert after.mask["depth"] and after.frames["depth"] is not None
    # The state is that of the pictures' instant, a moment ago.
    assert policy.observations[0].state == pytest.approx(SO101.home_rad, abs=0.02)


def test_a_loss_from_the_start_is_never_seen(seeing, short):
    policy, condition = Still(), parse_condition("drop:all-rgb", EYES)
    outcome = run_episode(seeing, policy, replace(KEY, condition=condition.name), condition)
    assert outcome.onset_s == 0.0 and outcome.masked_after_s == {"rgb": 0.0, "wrist/rgb": 0.0}
    assert policy.observations and not any(o.mask["rgb"] for o in policy.observations)


def test_with_every_camera_gone_the_arm_holds(seeing, short):
    policy, condition = Still(), parse_condition("drop:rgb+depth+wrist/rgb", EYES)
    outcome = run_episode(seeing, policy, replace(KEY, condition=condition.name), condition)
    assert outcome.hold_share == 1.0 and not policy.observations


def test_the_oracle_masks_what_the_detector_cannot_see(seeing, short):
    policy, condition = Still(), parse_condition("noise-1:rgb", EYES)
    key = replace(KEY, condition=condition.name)
    assert run_episode(seeing, policy, key, condition).masked_after_s == {"rgb": None}
    noisy = policy.observations[-1].frames["rgb"].astype(float)
    outcome = run_episode(seeing, policy, replace(key, masks="oracle"), condition)
    assert outcome.masked_after_s == {"rgb": 0.0}
    assert not any(o.mask["rgb"] for o in policy.observations)
    run_episode(seeing, policy, KEY, CLEAN)
    clean = policy.observations[-1].frames["rgb"].astype(float)
    assert np.std(noisy - clean) > 7.0


class Eye:
    """Keeps what it is shown."""

    streams = ("rgb", "depth")

    def __init__(self) -> None:
        self.seen = []

    def on_frames(self, since_s, frames, mask) -> None:
        self.seen.append((since_s, frames))


@pytest.mark.parametrize("damage", ["noise-3:all-rgb", "drop:rgb"])
def test_a_spectator_sees_the_same_whatever_is_damaged(seeing, short, damage):
    clean, damaged = Eye(), Eye()
    run_episode(seeing, Still(), KEY, CLEAN, clean)
    run_episode(seeing, Still(), KEY, parse_condition(damage, EYES), damaged)
    assert len(clean.seen) == len(damaged.seen) == 45
    for (one_s, one), (other_s, other) in zip(clean.seen, damaged.seen, strict=True):
        assert one_s == other_s >= 0.0 and list(one) == list(other) == ["rgb", "depth"]
    np.testing.assert_array_equal(clean.seen[5][1]["depth"], damaged.seen[5][1]["depth"])
    assert clean.seen[5][1]["rgb"].std() > 10.0 and damaged.seen[5][1]["rgb"].std() > 10.0


class OneLabel:
    """Labels everything with the number of its inputs."""

    inputs = ("rgb", "depth", "thermal")

    def predict(self, frames):
        return np.full((48, 48), len(frames), np.uint8)


def test_labels_are_made_of_what_is_left_and_end_with_the_last_of_it(short):
    kinds = [replace(TABLE[name], height=48, width=48) for name in ("rgb", "depth", "segmentation")]
    wrist = replace(TABLE["wrist/rgb"], height=48, width=48)
    loop = ClosedLoop(StreamTable((*kinds, wrist)), segmenter=OneLabel())
    labels = {}
    for name in ("clean", "drop:depth", "drop:rgb+depth"):
        for masks in ("detector", "oracle"):
            policy, condition = Still(), parse_condition(name, StreamTable((*kinds, wrist)))
            outcome = run_episode(
                loop, policy, replace(KEY, condition=name, masks=masks), condition
            )
            seen = [o.frames["segmentation"] for o in policy.observations]
            assert all(o.mask["wrist/rgb"] for o in policy.observations)
            labels[name, masks] = {None if frame is None else int(frame.max()) for frame in seen}
            assert outcome.inferences >= 1
    loop.close()
    for masks in ("detector", "oracle"):
        assert labels["clean", masks] == {2}
        assert labels["drop:depth", masks] == {1}
        assert labels["drop:rgb+depth", masks] == {None}


@pytest.mark.parametrize("wrong", [{"masks": "guess"}, {"execution": "never"}, {"task": "dance"}])
def test_a_wrong_key_is_one_clear_line(blind, wrong):
    with pytest.raises(ValueError) as caught:
        run_episode(blind, Still(), replace(KEY, **wrong), CLEAN)
    assert next(iter(wrong.values())) in str(caught.value) and "\n" not in str(caught.value)
