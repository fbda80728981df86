"""The cache gives back what the episodes held, by sample."""

import dataclasses
import json

import numpy as np
import pytest
from made_up_episode import STREAMS, made_up_episode, made_up_steps

from multismolvla.data.cache import CacheError, TrainingCache
from multismolvla.data.cache_writer import CacheWriter, samples_of
from multismolvla.embodiment.panda import PANDA
from multismolvla.embodiment.so101 import SO101

SIZES = dict.fromkeys(STREAMS, (6, 8))


def write(folder, episodes, streams=SIZES, objects=("cube", "brick"), **options):
    with CacheWriter(folder, SO101.joint_names, dict(streams), objects, **options) as writer:
        for number, episode in enumerate(episodes):
            writer.add(f"episode {number}", episode)
    return TrainingCache(folder)


def test_every_sample_is_the_row_it_says(tmp_path):
    episodes = [made_up_episode(seed, rows=7 + seed) for seed in range(3)]
    cache = write(tmp_path / "cache", episodes)
    order = np.random.default_rng(0).permutation(len(cache))
    batch = cache.sample(order)
    assert len(cache) == sum(len(episode.chunk_index) for episode in episodes)
    for number in range(len(order)):
        episode, row = episodes[batch.episode[number]], batch.row[number]
        place = int(np.flatnonzero(episode.chunk_index == row)[0])
        np.testing.assert_array_equal(batch.state[number], episode.state[row].astype(np.float32))
        np.testing.assert_array_equal(batch.chunk[number], episode.chunks[place])
        assert cache.instructions[batch.instruction[number]] == episode.instruction
        brick = batch.object_poses[number, cache.objects.index("brick")]
        np.testing.assert_array_equal(brick, episode.object_poses["brick"][row].astype(np.float32))
        for stream_number, stream in enumerate(cache.streams):
            usable = episode.masks[stream][place]
            assert batch.mask[number, stream_number] == usable
            expected = episode.frames[stream][place] if usable else 0
            np.testing.assert_array_equal(batch.frames[stream][number], expected)


def test_states_and_steps_keep_their_widths_names_and_period(tmp_path):
    names = {"actions": PANDA.action_names}
    sizes = {"agentview/rgb": (6, 8)}
    episodes = [made_up_steps(seed) for seed in range(2)]
    folder = tmp_path / "cache"
    with CacheWriter(folder, PANDA.state_names, sizes, ("grasp", "place"), **names) as writer:
        for number, episode in enumerate(episodes):
            writer.add(str(number), episode)
        with pytest.raises(CacheError, match=r"ours: joints are shoulder_pan, .*the cache has x"):
            writer.add("ours", made_up_episode())
        slower = dataclasses.replace(PANDA.action, period_s=0.1)
        with pytest.raises(CacheError, match=r"slow: period_s is 0\.1; the cache has 0\.05"):
            writer.add("slow", made_up_steps(action_space=slower))
        other = dataclasses.replace(PANDA.action, names=("a", *PANDA.action_names[1:]))
        with pytest.raises(CacheError, match=r"odd: actions are a, .*the cache has dx, "):
            writer.add("odd", made_up_steps(action_space=other))
    cache = TrainingCache(folder)
    assert (cache.joints, cache.action_names) == (PANDA.state_names, PANDA.action_names)
    assert (cache.period_s, cache.objects) == (0.05, ("grasp", "place"))
    assert cache.array("state").shape == (10, 8) and cache.array("chunk").shape == (10, 50, 7)
    batch = cache.sample(np.array([7]))
    np.testing.assert_array_equal(batch.chunk[0], episodes[1].chunks[2])


def test_a_cache_from_before_actions_had_names_has_those_of_its_joints(tmp_path):
    write(tmp_path / "c", [made_up_episode()])
    path = tmp_path / "c" / "cache.json"
    index = json.loads(path.read_text())
    del index["actions"]
    path.write_text(json.dumps(index))
    cache = TrainingCache(tmp_path / "c")
    assert cache.action_names == SO101.joint_names and cache.period_s == 1 / 30


def test_a_stream_that_an_episode_lacks_is_masked(tmp_path):
    episodes = [made_up_episode(0), made_up_episode(1, streams=("rgb",), object_poses={})]
    batch = (cache := write(tmp_path / "cache", episodes)).sample(np.arange(10))
    of_second = batch.episode == 1
    assert not batch.mask[of_second, 1:].any() and batch.mask[of_second, 0].any()
    assert not batch.frames["depth"][of_second].any()
    assert np.isnan(batch.object_poses[of_second]).all()
    assert cache.streams == STREAMS


def test_frames_of_different_rows_are_different_samples():
    episode = made_up_episode(
        streams=("rgb", "depth"),
        frame_index={"rgb": np.array([0, 2, 4, 6, 8]), "depth": np.array([1, 2, 4, 6, 8])},
        masks={"rgb": np.ones(5, bool), "depth": np.array([True, False, True, True, True])},
    )
    samples = samples_of(episode)
    assert samples.rows.tolist() == [0, 1, 2, 4, 6, 8]
    assert samples.frame_of["rgb"].tolist() == [0, -1, 1, 2, 3, 4]
    assert samples.frame_of["depth"].tolist() == [-1, 0, -1, 2, 3, 4]
    assert samples_of(episode, every=2).rows.tolist() == [0, 2, 6]


def test_the_splits_share_no_episode_and_stay_when_episodes_are_added(tmp_path):
    episodes = [made_up_episode(seed) for seed in range(30)]
    few = write(tmp_path / "few", episodes[:20], validation_share=0.3)
    many = write(tmp_path / "many", episodes, validation_share=0.3)
    split = {episode["name"]: episode["split"] for episode in many.episodes}
    assert all(split[episode["name"]] == episode["split"] for episode in few.episodes)
    assert {"train", "validation"} == set(split.values())
    both = np.concatenate([many.split("train"), many.split("validation")])
    assert sorted(both) == list(range(len(many)))
    with pytest.raises(ValueError, match="test"):
        many.split("test")


def test_the_arrays_are_mapped_and_read_only(tmp_path):
    array = write(tmp_path / "c", [made_up_episode()]).array("rgb")
    assert isinstance(array, np.memmap) and not array.flags.writeable


def test_what_breaks_off_leaves_the_old_cache(tmp_path):
    write(tmp_path / "c", [made_up_episode()])
    with pytest.raises(CacheError, match="wrist/segmentation"):
        write(tmp_path / "c", [made_up_episode()], SIZES | {"wrist/segmentation": (9, 9)})
    assert len(TrainingCache(tmp_path / "c")) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_folder_with_other_things_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CacheError, match="holds no cache"):
        write(tmp_path, [made_up_episode()])
    assert (tmp_path / "thesis.txt").exists()


def test_a_cache_that_is_none_is_one_line(tmp_path):
    with pytest.raises(CacheError, match="multismolvla dataset cache"):
        TrainingCache(tmp_path)
    write(tmp_path / "c", [made_up_episode()])
    index = json.loads((tmp_path / "c" / "cache.json").read_text())
    (tmp_path / "c" / "cache.json").write_text(json.dumps(index | {"samples": 4}))
    with pytest.raises(CacheError, match="has 5 samples"):
        TrainingCache(tmp_path / "c")
    with pytest.raises(CacheError, match="no samples"):
        write(tmp_path / "empty", [])


def test_a_share_of_the_episodes_is_held_out_whatever_their_names(tmp_path):
    """By a checksum, none of these names was."""
    with CacheWriter(tmp_path / "cache", SO101.joint_names, {}, ()) as writer:
        for task in range(10):
            for seed in range(20):
                blind = {"frames": {}, "frame_index": {}, "masks": {}, "object_poses": {}}
                episode = made_up_episode(0, rows=3, **blind)
                writer.add(f"object/{task}/{100_000 + seed:08d}", episode)
    held_out = [e for e in TrainingCache(tmp_path / "cache").episodes if e["split"] == "validation"]
    assert 4 <= len(held_out) <= 20
