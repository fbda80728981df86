"""The command `multismolvla dataset`, from bags to LeRobot, back, and to a cache."""

import dataclasses

import numpy as np
import pytest
from made_up_episode import assert_same, made_up_episode, made_up_steps

from multismolvla.cli import main
from multismolvla.data.bag import find_episodes, read_episode, write_episode
from multismolvla.data.cache import TrainingCache


@pytest.fixture
def bags(tmp_path):
    for seed in range(4):
        write_episode(tmp_path / "bags" / "task" / f"{seed:08d}", made_up_episode(seed, rows=5))
    failed = made_up_episode(9, rows=5, success=False)
    write_episode(tmp_path / "bags" / "failed" / "task" / "00000009", failed)
    return tmp_path / "bags"


def test_bags_survive_the_way_to_lerobot_and_back(bags, tmp_path, capsys):
    assert main(["dataset", "to-lerobot", str(bags), "--out", str(tmp_path / "set")]) == 0
    assert main(["dataset", "to-mcap", str(tmp_path / "set"), "--out", str(tmp_path / "new")]) == 0
    before, after = find_episodes(bags), find_episodes(tmp_path / "new")
    assert len(before) == len(after) == 5
    for one, other in zip(before, after, strict=True):
        assert_same(read_episode(one), read_episode(other), tolerance=1e-6)
    assert main(["dataset", "to-mcap", str(tmp_path / "set"), "--out", str(tmp_path / "new")]) == 0
    assert "5 episodes, 0 of them new" in capsys.readouterr().out


def test_a_cache_of_both_forms_leaves_the_experts_failures_out(bags, tmp_path, capsys):
    main(["dataset", "to-lerobot", str(bags / "task"), "--out", str(tmp_path / "set")])
    sources = [str(bags), str(tmp_path / "set")]
    assert main(["dataset", "cache", *sources, "--out", str(tmp_path / "cache")]) == 0
    assert "1 failed episodes left out" in capsys.readouterr().out
    cache = TrainingCache(tmp_path / "cache")
    assert len(cache.episodes) == 8 and len(cache) == 24
    assert cache.sample([0]).mask.shape == (1, 4)
    keep = ["--keep-failed", "--every", "2", "--only", "depth"]
    assert main(["dataset", "cache", *sources, "--out", str(tmp_path / "cache"), *keep]) == 0
    cache = TrainingCache(tmp_path / "cache")
    assert (len(cache.episodes), len(cache), cache.streams) == (9, 18, ("depth",))


def test_a_cache_of_episodes_without_pictures_has_everything_else(tmp_path):
    whole = made_up_episode(0, rows=5)
    blind = dataclasses.replace(whole, frames={}, frame_index={}, masks={})
    write_episode(tmp_path / "bags" / "00000000", blind)
    out = str(tmp_path / "cache")
    assert main(["dataset", "cache", str(tmp_path / "bags"), "--out", out]) == 0
    cache = TrainingCache(tmp_path / "cache")
    batch = cache.sample(np.arange(len(cache)))
    assert cache.streams == () and batch.frames == {} and batch.mask.shape == (len(cache), 0)
    np.testing.assert_array_equal(batch.row, whole.chunk_index)
    np.testing.assert_array_equal(batch.chunk[:, : whole.chunks.shape[1]], whole.chunks)
    np.testing.assert_allclose(batch.state, whole.state[batch.row], atol=1e-6)
    for place, name in enumerate(cache.objects):
        expected = whole.object_poses[name][batch.row]
        np.testing.assert_allclose(batch.object_poses[:, place], expected, atol=1e-6)
    assert cache.instructions == (whole.instruction,)


def test_info_counts_what_is_there(bags, capsys):
    assert main(["dataset", "info", str(bags)]) == 0
    printed = capsys.readouterr().out
    assert "5 episodes, 25 steps" in printed and "do number 9" in printed
    assert "wrist/segmentation 6x8" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["info", "nowhere"], "nowhere: no such folder"),
        (["info", "."], "no episodes in it"),
        (["cache", "bags", "--only", "sonar"], "no stream 'sonar'"),
        (["to-lerobot", "bags", "--out", "bags"], "exists already"),
    ],
)
def test_what_cannot_be_done_is_one_line(bags, tmp_path, monkeypatch, capsys, arguments, said):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path if arguments[1] != "." else tmp_path / "empty")
    assert main(["dataset", *arguments]) == 1
    printed = capsys.readouterr().err
    assert said in printed and printed.startswith("error: ") and printed.count("\n") == 1


def test_an_official_place_of_libero_is_never_trained_on(tmp_path, capsys, monkeypatch):
    place = "0123456789abcdef"
    for seed, where in enumerate((place, "another place")):
        meta = made_up_steps().meta | {"task": "object/0", "place": where}
        episode = made_up_steps(seed, meta=meta)
        write_episode(tmp_path / "bags" / where / "00000000", episode)
    command = "multismolvla.training.dataset.command"
    monkeypatch.setattr(f"{command}.package.installed", lambda: True)
    monkeypatch.setattr(f"{command}.official_places", lambda: {place})
    options = ["--embodiment", "panda", "--out", str(tmp_path / "cache")]
    assert main(["dataset", "cache", str(tmp_path / "bags" / "another place"), *options]) == 0
    assert main(["dataset", "cache", str(tmp_path / "bags"), *options]) == 1
    error = capsys.readouterr().err
    assert "official place" in error and "object/0" in error and len(error.splitlines()) == 1
