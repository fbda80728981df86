"""Demonstrations: labels, noise, resuming. Few of them render."""

import json
from contextlib import closing

import numpy as np
import pytest

from multismolvla.cli import main
from multismolvla.data.bag import PERIOD_NS, find_episodes, read_episode
from multismolvla.interfaces import ActionChunk, Observation
from multismolvla.sim.expert_policy import ExpertPolicy
from multismolvla.streams import load_stream_table
from multismolvla.training.demonstrations import command as demonstrations
from multismolvla.training.demonstrations import demonstration
from multismolvla.training.demonstrations.demonstration import (
    DemonstrationRecorder,
    Disturbance,
    Learner,
)

TABLE = load_stream_table("config/streams.yaml")
TASK = "red_cube_in_bin"


@pytest.fixture(scope="module")
def blind():
    """A recorder without cameras."""
    with closing(DemonstrationRecorder(TABLE, ())) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def disturbed(blind):
    """An episode whose seed draws noise."""
    episode = blind.record(TASK, 4, noise=1.0, max_steps=120)
    assert episode.meta["noise"] > 0.1
    return episode


def test_an_undisturbed_expert_succeeds_and_does_what_it_says(blind):
    episode = blind.record(TASK, 0, noise=0.0)
    assert episode.success and episode.meta["source"] == "expert"
    np.testing.assert_array_equal(episode.action, episode.executed)


def test_noise_is_in_what_is_executed_and_not_in_the_label(disturbed):
    difference = disturbed.executed - disturbed.action
    assert np.abs(difference).mean() > 0.005
    # A label is a row of the chunk that is being followed, at most so many rows ago.
    for row in (0, 17, 60):
        recent = disturbed.chunks[: np.searchsorted(disturbed.chunk_index, row, "right")][-17:]
        distance = np.abs(recent - disturbed.action[row].astype(np.float32)).max(-1)
        assert distance.min() < 1e-6


def test_the_chunk_of_a_row_is_the_expert_asked_there(disturbed):
    place = 9
    row = disturbed.chunk_index[place]
    poses = {name: poses[row] for name, poses in disturbed.object_poses.items()}
    seen = Observation(0, {}, {}, disturbed.state[row], disturbed.instruction, poses)
    asked = ExpertPolicy(committed_s=0).infer(seen)
    np.testing.assert_allclose(disturbed.chunks[place], asked.actions, atol=1e-6)


def test_without_pictures_labels_are_as_far_apart_as_with_them(blind, monkeypatch):
    def rendered(*_):
        raise AssertionError("a camera was made")

    monkeypatch.setattr(demonstration, "Cameras", rendered)
    with closing(DemonstrationRecorder(TABLE, ())) as recorder:
        episode = recorder.record(TASK, 0, noise=0.0, max_steps=7)
    assert episode.streams == () and episode.chunk_index.tolist() == [0, 2, 4, 6]


def test_the_same_seed_records_the_same_episode(blind, disturbed):
    again = blind.record(TASK, 4, noise=1.0, max_steps=120)
    np.testing.assert_array_equal(again.executed, disturbed.executed)
    np.testing.assert_array_equal(again.state, disturbed.state)


def test_frames_are_taken_at_the_rate_of_the_cameras():
    with closing(DemonstrationRecorder(TABLE, ("rgb", "wrist/depth"))) as recorder:
        episode = recorder.record(TASK, 0, noise=0.0, max_steps=7)
    assert episode.streams == ("rgb", "wrist/depth") and not episode.success
    assert episode.frame_index["rgb"].tolist() == [0, 2, 4, 6] == episode.chunk_index.tolist()
    assert episode.frames["rgb"].shape == (4, 96, 96, 3)
    seen = episode.frames["wrist/depth"]
    assert seen.dtype == np.uint16 and 50 < np.median(seen[seen > 0]) < 2000


class StandsStill:
    """A learner that has learned nothing."""

    def __init__(self):
        self.seen = []

    def infer(self, observation):
        self.seen.append(observation)
        return ActionChunk(observation.stamp_ns, 1 / 30, np.tile(observation.state, (50, 1)))

    def reset(self):
        pass


def test_a_learner_drives_and_the_expert_labels():
    policy = StandsStill()
    learner = Learner(policy, "made/up", expert_share=0.0, stream_loss=0.5)
    with closing(DemonstrationRecorder(TABLE, ("rgb", "depth", "thermal"), learner)) as recorder:
        episode = recorder.record(TASK, 0, noise=0.0, max_steps=60)
    assert episode.meta["source"] == "dagger:made/up"
    # The arm stays, the expert would have it go.
    assert np.ptp(episode.executed, axis=0).max() < 0.05
    assert np.abs(episode.action - episode.state).max() > 0.1
    lost = 0
    for observation in policy.seen:
        assert any(observation.mask.values()) and not observation.privileged
        for name, usable in observation.mask.items():
            assert (observation.frames[name] is not None) == usable
            lost += not usable
    assert lost > 0
    depths = [seen.frames["depth"] for seen in policy.seen if seen.mask["depth"]]
    assert depths[0].dtype == np.float32 and 0.05 < np.nanmedian(depths[0]) < 2.0


def test_a_privileged_learner_gets_the_poses_and_needs_no_frames():
    policy = StandsStill()
    learner = Learner(policy, "made/up", expert_share=0.0, privileged=True)
    with closing(DemonstrationRecorder(TABLE, (), learner)) as recorder:
        episode = recorder.record(TASK, 0, noise=0.0, max_steps=40)
    # All chunks followed are the learner's own, without a disturbance.
    assert np.ptp(episode.executed, axis=0).max() < 0.05 and len(policy.seen) >= 3
    for seen in policy.seen:
        row = round(seen.stamp_ns / PERIOD_NS)
        assert not seen.frames and seen.privileged.keys() == episode.object_poses.keys()
        for name, poses in episode.object_poses.items():
            np.testing.assert_array_equal(seen.privileged[name], poses[row])


def test_a_learner_that_would_see_nothing_is_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="needs frames"):
        DemonstrationRecorder(TABLE, (), Learner(StandsStill(), "made/up"))
    assert demos(tmp_path / "out", "--policy", "some/one", "--only", "none") == 1
    printed = capsys.readouterr().err
    assert "some/one needs frames" in printed and printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_disturbance_wanders_within_its_scale_and_pushes_are_rare():
    disturbance = Disturbance(np.random.default_rng(0), 0.5, 1 / 30)
    offsets = np.array([disturbance.step() for _ in range(30_000)])
    assert np.abs(offsets.mean(0)).max() < 0.01
    assert 0.02 < offsets[:, 0].std() < 0.05
    # From one step to the next it hardly changes: an arm cannot follow white noise.
    assert np.abs(np.diff(offsets[:, 0])).mean() < 0.5 * np.abs(offsets[:, 0]).mean()
    still = Disturbance(np.random.default_rng(0), 0.0, 1 / 30)
    assert not np.any([still.step() for _ in range(100)])


@pytest.fixture
def quick(monkeypatch):
    """Records in this process, without cameras or physics to speak of: seed 1 always fails."""

    def here(jobs, work, *_, **__):
        while jobs:
            yield work(jobs.popleft())

    recorded = []

    def record(job):
        out, task, seed = job
        recorded.append((task, seed))
        folder = demonstrations.bag_folder(out, task, seed, seed != 1)
        folder.mkdir(parents=True)
        (folder / "metadata.yaml").touch()
        return task, seed != 1, seed != 1

    monkeypatch.setattr(demonstrations, "results", here)
    monkeypatch.setattr(demonstrations, "_record_one", record)
    return recorded


def demos(out, *more):
    tasks = ["--tasks", TASK, "cube_on_brick"]
    return main(["demos", "--out", str(out), "--seed", "0", *tasks, *more])


def test_a_failed_seed_is_made_up_for_and_kept_apart(tmp_path, quick):
    assert demos(tmp_path, "--episodes-per-task", "3") == 0
    assert sorted(quick) == sorted((t, s) for t in (TASK, "cube_on_brick") for s in range(4))
    kept = [path.relative_to(tmp_path).as_posix() for path in find_episodes(tmp_path)]
    assert f"{TASK}/00000003" in kept and f"failed/{TASK}/00000001" in kept
    assert len(kept) == 8


def test_a_second_run_records_only_what_is_missing(tmp_path, quick):
    demos(tmp_path, "--episodes-per-task", "3")
    quick.clear()
    assert demos(tmp_path, "--episodes-per-task", "3") == 0 and quick == []
    for path in (tmp_path / TASK / "00000002").iterdir():
        path.unlink()
    (tmp_path / TASK / "00000002").rmdir()
    assert demos(tmp_path, "--episodes-per-task", "4") == 0
    assert set(quick) == {(TASK, 2), (TASK, 4), ("cube_on_brick", 4)} and len(quick) == 3


def test_a_folder_of_other_settings_is_refused(tmp_path, quick, capsys):
    demos(tmp_path, "--episodes-per-task", "1")
    quick.clear()
    assert demos(tmp_path, "--episodes-per-task", "1", "--noise", "0.1") == 1
    printed = capsys.readouterr().err
    assert "noise 0.7, not 0.1" in printed and printed.count("\n") == 1 and quick == []


def test_a_folder_with_the_old_settings_is_continued(tmp_path, quick):
    demos(tmp_path, "--episodes-per-task", "1")
    path = tmp_path / "demos.json"
    settings = json.loads(path.read_text())
    assert settings.pop("privileged") is False
    path.write_text(json.dumps(settings))
    assert demos(tmp_path, "--episodes-per-task", "1") == 0
    path.write_text(json.dumps(settings | {"told": True}))  # the key's former name
    assert demos(tmp_path, "--episodes-per-task", "1") == 1


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--episodes-per-task", "0", "'0' is not a positive number"),
        ("--noise", "2", "'2' is not a number from 0 to 1"),
    ],
)
def test_a_value_out_of_range_is_one_line(tmp_path, capsys, option, value, said):
    with pytest.raises(SystemExit):
        main(["demos", "--out", str(tmp_path), option, value])
    assert said in capsys.readouterr().err


def test_an_unknown_task_or_stream_is_one_line(tmp_path, capsys):
    assert main(["demos", "--out", str(tmp_path), "--tasks", "dance"]) == 1
    assert main(["demos", "--out", str(tmp_path), "--only", "sonar"]) == 1
    printed = capsys.readouterr().err
    assert "unknown task 'dance'" in printed and "unknown stream 'sonar'" in printed


def test_a_checkpoint_that_is_none_is_one_line(tmp_path, capsys):
    assert main(["demos", "--out", str(tmp_path / "out"), "--policy", str(tmp_path / "none")]) == 1
    printed = capsys.readouterr().err
    assert "which is not a folder" in printed and printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_processes_record_whole_bags(tmp_path):
    arguments = ["--episodes-per-task", "1", "--tasks", TASK, "--only", "thermal", "--seed", "5"]
    assert main(["demos", "--out", str(tmp_path), "--workers", "1", *arguments]) == 0
    assert json.loads((tmp_path / "demos.json").read_text())["streams"] == ["thermal"]
    episode = read_episode(find_episodes(tmp_path)[0])
    assert episode.success and episode.meta["seed"] == 5 and episode.meta["git_revision"]
