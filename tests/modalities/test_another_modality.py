"""A kind of image from another package goes all the way from its sensor to the actions."""

import dataclasses
import runpy
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from event_camera_example import events  # noqa: F401
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument

from multismolvla.control.inference import ObservationFilter
from multismolvla.data.cache import TrainingCache
from multismolvla.data.cache_writer import CacheWriter
from multismolvla.data.episode import Episode
from multismolvla.embodiment.so101 import SO101
from multismolvla.faults.conditions import parse_condition
from multismolvla.faults.registry import FAULTS, make_fault
from multismolvla.interfaces import Observation
from multismolvla.modalities import registry
from multismolvla.modalities.conversion import condition, from_counts, to_counts, to_units
from multismolvla.modalities.registry import kinds
from multismolvla.pictures.sensor_panel import colorize
from multismolvla.policy.config import ConfigError, load_config, tiny
from multismolvla.policy.learned_policy import LearnedPolicy
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.pose_check.picture import SIZE, to_picture
from multismolvla.sensing.health import State, StreamHealth
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.simulation import Simulation
from multismolvla.streams import load_stream_table
from multismolvla.training.policy.image_augmentation import augment
from multismolvla.training.policy.recipe import AugmentRecipe

ROOT = Path(__file__).parents[2]
PERIOD_NS = 66_666_667


@pytest.fixture
def table(events, tmp_path):  # noqa: F811
    return load_stream_table(tmp_path / "streams.yaml")


def counts(seed: int = 0, size: int = 120) -> np.ndarray:
    """A raw frame: most pixels still, some with events."""
    rng = np.random.default_rng(seed)
    still = rng.random((size, size)) < 0.8
    return np.where(still, 128, rng.integers(110, 146, (size, size))).astype(np.uint8)


def test_the_kinds_of_the_package_keep_their_place(events):  # noqa: F811
    assert kinds() == ("rgb", "depth", "thermal", "segmentation", "events")


def test_counts_become_events_and_back(events):  # noqa: F811
    frame = condition(events, counts(), 120, 120)
    np.testing.assert_array_equal(frame, counts().astype(np.float32) - 128.0)
    np.testing.assert_array_equal(to_counts(events, frame), counts())
    np.testing.assert_array_equal(from_counts(events, counts()), frame)
    assert condition(events, counts(), 96, 96).dtype == np.float32


def test_a_still_scene_is_sound_and_silence_and_noise_are_not(table):
    modality = table["events"].modality
    health = StreamHealth("events", 15.0)
    still = to_units(modality, np.full((96, 96), 128, np.uint8))
    for i in range(20):
        health.on_frame(still, i * PERIOD_NS, i * PERIOD_NS)
    assert health.state is State.OK
    noise = make_fault("noise", "events", severity=5)
    for i in range(20, 30):
        health.on_frame(noise.corrupt(still), i * PERIOD_NS, i * PERIOD_NS)
    assert health.state is State.DEGRADED and health.reasons == ("noisy",)
    for i in (40, 60):
        health.tick(i * PERIOD_NS)
    assert health.state is State.LOST and health.reasons == ("stale",)


def test_faults_and_conditions_know_it(table):
    modality = table["events"].modality
    able = {name for name, fault in FAULTS.items() if "events" in fault.kinds()}
    assert {"noise", "occlusion", "motion_blur", "black", "drop", "wrong_encoding"} <= able
    assert not able & {"colour_cast", "smoke", "nan_depth", "thermal_drift"}
    frame = to_units(modality, counts())
    for name in sorted(able):
        fault = FAULTS[name]
        if hasattr(fault, "corrupt"):
            damaged = make_fault(name, "events", seed=1, severity=5).corrupt(frame)
            assert damaged.shape == frame.shape and damaged.dtype == frame.dtype, name
    assert parse_condition("drop:all-events", table).streams == ("events",)


def test_it_is_stored_and_varied(table, tmp_path):
    stored = np.stack([counts(seed, 96) for seed in range(4)])
    episode = Episode(
        joints=SO101.joint_names,
        instruction="look",
        stamps_ns=np.arange(8, dtype=np.int64) * 33_333_333,
        **dict.fromkeys(("state", "action", "executed"), np.zeros((8, 6))),
        frames={"events": stored},
        frame_index={"events": np.arange(0, 8, 2)},
        masks={"events": np.ones(4, bool)},
        object_poses={},
        success=True,
        meta={},
    )
    with CacheWriter(
        tmp_path / "cache", SO101.joint_names, {"events": (96, 96)}, (), validation_share=0.0
    ) as writer:
        writer.add("one", episode)
    cached = TrainingCache(tmp_path / "cache").array("events")
    np.testing.assert_array_equal(cached, stored)
    rng, streams = np.random.default_rng(0), (table["events"],)
    varied = augment(rng, {"events": stored}, streams, AugmentRecipe(shift_px=0))["events"]
    assert varied.dtype == np.uint8 and 0 < np.abs(varied.astype(int) - stored).mean() < 3
    off = AugmentRecipe(shift_px=0, others=0.0)
    assert augment(rng, {"events": stored}, streams, off)["events"] is stored


def test_it_is_shown_and_read_by_the_pose_check(events):  # noqa: F811
    frame = to_units(events, counts())
    assert colorize(events, frame).shape == (120, 120, 3)
    assert to_picture(events, frame).shape == (events.pose_channels, SIZE, SIZE)


def test_the_simulator_shows_what_moves(table):
    simulation = Simulation(seed=0)
    cameras = Cameras(simulation.model, table)
    data, frames = mujoco.MjData(simulation.model), []
    simulation.snapshot(data)
    for turn_rad in (0.0, 0.0, 0.3):
        data.qpos[0] += turn_rad
        mujoco.mj_forward(simulation.model, data)
        frames.append(cameras.render(data, ["events"], 0.0)["events"])
    cameras.close()
    assert not frames[1].any() and np.count_nonzero(frames[2]) > 50


@pytest.fixture
def policy(table) -> LearnedPolicy:
    config = tiny(tuple(table), SO101)
    config = dataclasses.replace(config, text=dataclasses.replace(config.text, vocab_size=1024))
    torch.manual_seed(0)
    tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
    return LearnedPolicy(
        MultiSmolVLA(config), tokenizer, Normalizer(config), SO101, seed=3, noise_scale=1
    )


def observation(modality, seed: int, usable: bool) -> Observation:
    frames = {
        "rgb": np.full((96, 96, 3), 90, np.uint8),
        "events": to_units(modality, counts(seed, 96)),
    }
    mask = {"rgb": True, "events": usable}
    return Observation(0, frames, mask, np.zeros(6), "look")


def test_its_tokens_and_its_mask_change_the_actions(policy, events):  # noqa: F811
    def actions(seed: int, usable: bool = True) -> np.ndarray:
        policy.reset()
        return policy.infer(observation(events, seed, usable)).actions

    assert np.abs(actions(0) - actions(1)).max() > 1e-6
    assert np.abs(actions(0) - actions(0, usable=False)).max() > 1e-6
    np.testing.assert_array_equal(actions(0, usable=False), actions(1, usable=False))


def test_a_change_of_its_frame_is_news(events):  # noqa: F811
    news = ObservationFilter(0.02)
    before = observation(events, 0, True)
    news.processed(before)
    assert not news.is_new(before, must_go=False)
    assert news.is_new(observation(events, 1, True), must_go=False)


def test_the_bring_up_starts_its_node_where_the_table_has_it(events, tmp_path):  # noqa: F811
    bringup = runpy.run_path(str(ROOT / "launch" / "bringup.launch.py"))
    context = LaunchContext()
    given = {
        "world": "tabletop",
        "faults": "",
        "wrist": "true",
        "log_level": "info",
        "events_topic": "dvs/image",
    }
    given["streams_file"] = str(tmp_path / "streams.yaml")
    context.launch_configurations.update(given)
    (process,) = bringup["others"](context)

    def text(word) -> str:
        if isinstance(word, list | tuple):
            return "".join(map(text, word))
        return word if isinstance(word, str) else word.perform(context)

    words = [text(word) for word in process.cmd]
    expected = ["--node", "events_node", "-p", "stream:=events"]
    expected += [
        "-p",
        f"streams_file:={tmp_path}/streams.yaml",
        "-r",
        "events/image_raw:=dvs/image",
    ]
    assert words[words.index("--node") :][: len(expected)] == expected
    context.launch_configurations["streams_file"] = str(ROOT / "config" / "streams.yaml")
    assert bringup["others"](context) == []
    declared = {a.name for a in bringup["arguments"]() if isinstance(a, DeclareLaunchArgument)}
    assert {"events_topic", "wrist_events_topic", "rgb_topic"} <= declared


def test_a_checkpoint_of_a_kind_that_is_not_installed_is_refused(table, tmp_path):
    tiny(tuple(table), SO101).save(tmp_path)
    registry._KNOWN.pop("events")
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path)
    assert "events: kind is 'events'; expected rgb, depth, thermal, segmentation" in str(
        error.value
    )
    assert "\n" not in str(error.value)
