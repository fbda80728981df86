"""A random checkpoint as a policy: what reaches the actions, what does not, what is refused."""

import copy
import dataclasses
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from tokenizers.models import WordLevel

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.interfaces import Observation
from multismolvla.policy import learned_policy
from multismolvla.policy.checkpoint import save_checkpoint
from multismolvla.policy.config import tiny
from multismolvla.policy.dry_run import synthetic_observation
from multismolvla.policy.learned_policy import LearnedPolicy
from multismolvla.policy.lerobot_normalization import StatisticsChoice
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.precision_choice import Choice
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.streams import Stream

STREAMS = tuple(
    Stream(name, name.rpartition("/")[2], 32, 32, 15.0, "camera_optical_frame")
    for name in ("rgb", "depth", "thermal", "segmentation", "wrist/rgb")
)
NAMES = [stream.name for stream in STREAMS]
LEROBOT = Path(__file__).parents[1] / "golden" / "smolvla_tiny"
# Nothing in that folder says its unit.
RADIANS = StatisticsChoice(units="radians")


def config(streams=STREAMS):
    preset = tiny(streams, SO101)
    return dataclasses.replace(preset, text=dataclasses.replace(preset.text, vocab_size=1024))


@pytest.fixture(scope="module")
def model() -> MultiSmolVLA:
    torch.manual_seed(0)
    return MultiSmolVLA(config(), KINEMATICS)


def policy_of(
    model: MultiSmolVLA, *, seed: int | None = 3, noise_scale: float = 1.0, **statistics
) -> LearnedPolicy:
    tokenizer = Tokenizer.load(SHIPPED_FILE, model.config.max_language_tokens)
    normalizer = Normalizer(model.config, KINEMATICS, **statistics)
    return LearnedPolicy(
        copy.deepcopy(model), tokenizer, normalizer, SO101, seed=seed, noise_scale=noise_scale
    )


@pytest.fixture
def policy(model) -> LearnedPolicy:
    return policy_of(model)


def observed(usable=NAMES, seed: int = 0, **changes) -> Observation:
    observation = synthetic_observation(
        STREAMS, usable, np.random.default_rng(seed), SO101.home_rad
    )
    return dataclasses.replace(observation, **changes)


def actions(policy: LearnedPolicy, observation: Observation) -> np.ndarray:
    """From the seed's first noise."""
    policy.reset()
    return policy.infer(observation).actions


def replaced(observation: Observation, **frames) -> Observation:
    return dataclasses.replace(observation, frames={**observation.frames, **frames})


def test_a_chunk_belongs_to_its_observation(policy):
    chunk = policy.infer(observed(stamp_ns=123_456_789_000))
    assert chunk.stamp_ns == 123_456_789_000
    assert chunk.period_s == pytest.approx(1 / 30)
    assert chunk.actions.shape == (10, 6) and chunk.actions.dtype == np.float64
    assert np.isfinite(chunk.actions).all()


def test_actions_come_back_in_radians(model, policy):
    mean, std = torch.arange(6.0), torch.full((6,), 0.25)
    scaled = policy_of(model, action_mean=mean, action_std=std)
    expected = actions(policy, observed()) * 0.25 + np.arange(6.0)
    np.testing.assert_allclose(actions(scaled, observed()), expected, rtol=1e-6)


def test_the_state_is_read_in_radians(model, policy):
    shifted = policy_of(model, state_mean=torch.ones(6), state_std=torch.full((6,), 2.0))
    found = actions(shifted, observed(state=SO101.home_rad * 2.0 + 1.0))
    np.testing.assert_allclose(found, actions(policy, observed(state=SO101.home_rad)), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_stream_in_use_changes_the_actions(policy, name):
    frame = observed(seed=1).frames[name]
    assert not np.array_equal(
        actions(policy, observed()), actions(policy, replaced(observed(), **{name: frame}))
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_masked_stream_changes_nothing_whatever_it_holds(policy, name):
    others = [other for other in NAMES if other != name]
    masked = observed(others)
    for frame in (observed(seed=1).frames[name], np.full((3, 5), np.nan), "no frame at all"):
        found = actions(policy, replaced(masked, **{name: frame}))
        assert np.array_equal(found, actions(policy, masked))


def test_the_instruction_and_the_state_change_the_actions(policy):
    plain = actions(policy, observed())
    assert not np.array_equal(plain, actions(policy, observed(task="open the gripper")))
    assert not np.array_equal(plain, actions(policy, observed(state=SO101.home_rad + 0.1)))


def test_a_stream_that_the_observation_lacks_is_masked(policy):
    whole = observed(["rgb", "depth"])
    bare = dataclasses.replace(
        whole,
        frames={name: whole.frames[name] for name in ("rgb", "depth")},
        mask={"rgb": True, "depth": True},
    )
    assert np.array_equal(actions(policy, bare), actions(policy, whole))


def test_a_stream_without_a_frame_is_masked_even_if_the_mask_allows_it(policy):
    promised = dataclasses.replace(observed(["rgb"]), mask=dict.fromkeys(NAMES, True))
    assert np.array_equal(actions(policy, promised), actions(policy, observed(["rgb"])))


def test_a_stream_that_the_checkpoint_does_not_know_is_ignored(policy):
    more = replaced(observed(), **{"side/rgb": np.zeros((7, 9), np.int16)})
    more = dataclasses.replace(more, mask={**more.mask, "side/rgb": True})
    assert np.array_equal(actions(policy, more), actions(policy, observed()))


def test_an_observation_of_unknown_streams_alone_is_refused(policy):
    other = observed(mask={"side/rgb": True}, frames={"side/rgb": np.zeros((9, 9, 3), np.uint8)})
    with pytest.raises(ValueError, match=r"uses rgb, depth.* but the observation has none"):
        policy.infer(other)


def test_with_every_stream_masked_it_still_answers(policy):
    assert np.isfinite(actions(policy, observed([]))).all()


def test_a_seed_repeats_the_chunks_of_an_episode(model):
    policy = policy_of(model)
    first = [policy.infer(observed()).actions for _ in range(2)]
    assert not np.array_equal(*first), "each chunk has its own noise"
    policy.reset()
    assert np.array_equal(policy.infer(observed()).actions, first[0])
    assert np.array_equal(policy.infer(observed()).actions, first[1])


def test_without_a_seed_episodes_differ(model):
    policy = policy_of(model, seed=None)
    assert not np.array_equal(actions(policy, observed()), actions(policy, observed()))


def test_without_noise_the_same_observation_gives_the_same_chunk(model):
    policy = policy_of(model, seed=None, noise_scale=0.0)
    assert np.array_equal(actions(policy, observed()), actions(policy, observed()))


def test_an_unchanged_frame_is_not_prepared_again(policy, monkeypatch):
    seen, prefix = [], policy._engine.prefix
    monkeypatch.setattr(
        policy._engine, "prefix", lambda frames, *rest: seen.append(frames) or prefix(frames, *rest)
    )
    observation = observed()
    policy.infer(observation)
    # An equal copy, as the next observation brings it, and an array that was written to.
    policy.infer(replaced(observation, depth=observation.frames["depth"].copy()))
    observation.frames["rgb"][0, 0] += 1
    policy.infer(observation)
    assert seen[1]["depth"] is seen[0]["depth"]
    assert seen[2]["rgb"] is not seen[0]["rgb"]
    assert not torch.equal(seen[2]["rgb"], seen[0]["rgb"])


@pytest.mark.parametrize(
    ("observation", "complaint"),
    [
        (observed(state=np.array([0, 0, np.nan, 0, 0, 0])), "nan.*expected 6 finite joint angles"),
        (observed(state=np.array([0, 0, np.inf, 0, 0, 0])), "expected 6 finite joint angles"),
        (observed(state=np.zeros(7)), "expected 6 finite joint angles"),
        (observed(task=" \n"), "instruction is empty"),
        (observed(task="put the cube " * 60), "tokens; this model reads at most 48"),
        (
            replaced(observed(), rgb=np.zeros((32, 32), np.uint8)),
            r"rgb: got \(32, 32\) uint8; expected \(H, W, 3\) uint8",
        ),
        (replaced(observed(), depth=[[0.5]]), "depth: got list; expected"),
    ],
)
def test_what_it_cannot_use_is_one_clear_line(policy, observation, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        policy.infer(observation)
    assert "\n" not in str(error.value)
    assert np.isfinite(policy.infer(observed()).actions).all(), "the next one is answered"


def test_a_checkpoint_for_another_arm_is_refused():
    other = dataclasses.replace(config(), joints=("base", "elbow", "grip", "a", "b", "c"))
    with pytest.raises(
        ValueError, match=r"states are base, elbow.*the arm .so101. has shoulder_pan"
    ):
        policy_of(MultiSmolVLA(other, KINEMATICS))


def test_a_folder_is_loaded_with_all_that_belongs_to_it(model, tmp_path):
    normalizer = Normalizer(model.config, KINEMATICS, action_mean=torch.arange(6.0))
    tokenizer = Tokenizer.load(SHIPPED_FILE, model.config.max_language_tokens)
    half = MultiSmolVLA(model.config, KINEMATICS)
    half.load_state_dict(model.state_dict())
    save_checkpoint(tmp_path, half.bfloat16(), model.config, tokenizer, normalizer)
    loaded = LearnedPolicy.load(tmp_path, SO101, seed=3, noise_scale=1.0)
    expected = actions(policy_of(half.float(), action_mean=torch.arange(6.0)), observed())
    np.testing.assert_allclose(actions(loaded, observed()), expected, atol=1e-6)
    assert 0.0 < loaded.dry_run().load_s < 10.0
    with pytest.raises(ValueError, match="a stream table of its own"):
        LearnedPolicy.load(tmp_path, SO101, cameras={"camera1": "rgb"})
    with pytest.raises(ValueError, match="statistics in radians of its own"):
        LearnedPolicy.load(tmp_path, SO101, choice=RADIANS)


def test_a_folder_of_lerobot_is_loaded_with_streams_for_its_cameras(tmp_path):
    shutil.copytree(LEROBOT, tmp_path, dirs_exist_ok=True)
    # That model knows fewer tokens than the shipped file has.
    tokenizers.Tokenizer(WordLevel({"?": 0}, "?")).save(str(tmp_path / SHIPPED_FILE.name))
    cameras = {"camera1": "rgb", "camera2": "wrist/rgb"}
    policy = LearnedPolicy.load(tmp_path, SO101, cameras, RADIANS, seed=3)
    whole = observed()
    both = dataclasses.replace(whole, mask={"rgb": True, "wrist/rgb": True})
    top = dataclasses.replace(whole, mask={"rgb": True, "wrist/rgb": False})
    assert np.isfinite(actions(policy, both)).all()
    assert not np.array_equal(actions(policy, both), actions(policy, top))
    assert np.array_equal(actions(policy, both), actions(policy, whole))


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path):
    shutil.copytree(LEROBOT, tmp_path, dirs_exist_ok=True)
    shutil.copy(SHIPPED_FILE, tmp_path)
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ tokens and the model \d+"):
        LearnedPolicy.load(tmp_path, SO101, choice=RADIANS)


def test_the_dry_run_reports_and_leaves_no_trace(model):
    policy = policy_of(model)
    expected = policy.infer(observed()).actions
    report = policy.dry_run()
    assert report.parameters == sum(p.numel() for p in model.parameters())
    assert 0.0 < report.median_s < 5.0 and report.chunk_size == 10
    assert np.array_equal(policy.infer(observed()).actions, expected)


def auto(model, monkeypatch, choice_of, **options) -> tuple[LearnedPolicy, dict]:
    """A policy whose dry run takes what `choice_of(precisions, threads)` says."""
    seen = {}

    def choose(make, precisions, threads, examples, steps):
        seen.update(precisions=precisions, threads=threads, examples=examples, steps=steps)
        precision, number = choice_of(precisions, threads)
        candidates = {name: make(name) for name in precisions}
        seen["targets"] = {n: c.infer(examples[0], threads[0]) for n, c in candidates.items()}
        return Choice(precision, number, 0.01, "because"), candidates[precision]

    monkeypatch.setattr(learned_policy, "choose", choose)
    tokenizer = Tokenizer.load(SHIPPED_FILE, model.config.max_language_tokens)
    normalizer = Normalizer(model.config, KINEMATICS)
    policy = LearnedPolicy(
        copy.deepcopy(model), tokenizer, normalizer, SO101, seed=3, noise_scale=1.0, **options
    )
    return policy, seen


def test_the_dry_run_chooses_where_that_is_left_to_it(model, monkeypatch):
    policy, seen = auto(model, monkeypatch, lambda p, t: (p[-1], t[-1]), precision="auto")
    exact = policy_of(model)
    expected = actions(exact, observed())
    np.testing.assert_allclose(actions(policy, observed()), expected, atol=1e-6)
    report = policy.dry_run()
    assert report.choice.reason == "because"
    assert seen["precisions"][0] == "float32" and len(seen["threads"]) == 1 and not seen["steps"]
    # Each made of the same weights, asked with the same noise.
    for precision, targets in seen["targets"].items():
        assert np.abs(targets - seen["targets"]["float32"]).max() < 0.1, precision
    taken = actions(policy, observed())
    assert np.abs(taken - expected).max() < 0.1
    if seen["precisions"][-1] != "float32":
        assert not np.array_equal(taken, expected)
    # There is nothing to choose any more, and nothing to choose from is held on to.
    assert policy._source is None and policy.dry_run().choice is None


def test_threads_are_chosen_by_the_dry_run_and_hold_in_every_thread(model, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    policy, seen = auto(model, monkeypatch, lambda p, t: (p[0], 2), threads=0)
    told = []

    def infer_elsewhere():
        policy.infer(observed())
        told.append(torch.get_num_threads())

    before = torch.get_num_threads()
    try:
        policy.dry_run()
        assert seen["threads"] == (1, 2) and seen["precisions"] == ("float32",)
        thread = threading.Thread(target=infer_elsewhere)
        thread.start()
        thread.join(20.0)
    finally:
        torch.set_num_threads(before)
    assert told == [2]


def test_by_default_the_precision_is_float32_everywhere(policy):
    assert policy._precisions == ("float32",) and policy._source is None
