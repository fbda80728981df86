"""The pool of episodes: what it keeps loaded, and what it does where something fails."""

from dataclasses import replace
from pathlib import Path

import pytest

from multismolvla.evaluation import episode_pool
from multismolvla.evaluation.episode_pool import (
    EpisodeWorker,
    Job,
    PoolError,
    PoolSettings,
    clip_file,
    run_jobs,
)
from multismolvla.evaluation.outcome import EpisodeKey
from multismolvla.faults.conditions import CLEAN, Condition
from multismolvla.stack.settings import PolicySettings, StackSettings
from multismolvla.streams import load_stream_table
from multismolvla.worker_pool import WorkerDied

TABLE = load_stream_table(Path(__file__).parents[2] / "config" / "streams.yaml")
SETTINGS = PoolSettings(TABLE, segmentation="ground_truth")
KEY = EpisodeKey("expert", CLEAN, "red_cube_in_bin", 1)


def test_each_episode_has_a_clip_of_its_own(tmp_path):
    keys = [KEY, replace(KEY, seed=2), replace(KEY, masks="oracle"), replace(KEY, latency_s=0.2)]
    assert len({clip_file(tmp_path, key) for key in keys}) == len(keys)
    assert clip_file(tmp_path, KEY) == clip_file(tmp_path, replace(KEY)), "found again later"


@pytest.mark.parametrize(
    ("change", "part"),
    [({"policy": "nobody"}, "nobody"), ({"task": "dance"}, "unknown task 'dance'")],
)
def test_what_does_not_exist_is_one_clear_line(change, part):
    jobs = [Job(replace(KEY, **change), Condition(CLEAN))]
    with pytest.raises(ValueError, match=part) as error:
        list(run_jobs(jobs, SETTINGS, workers=1))
    assert "\n" not in str(error.value)


def test_a_worker_that_dies_says_what_to_do(monkeypatch):
    def die(*_):
        raise WorkerDied("a worker process died (out of memory?)")
        yield

    monkeypatch.setattr(episode_pool, "results", die)
    with pytest.raises(PoolError, match=r"died .*; what is done is kept: .* fewer --workers"):
        list(run_jobs([Job(KEY, Condition(CLEAN))], SETTINGS, workers=2))


def test_a_policy_is_loaded_once_for_all_episodes_that_run_it_alike(monkeypatch):
    loaded = []
    load = episode_pool.load_policy

    def counted(name, embodiment, **options):
        loaded.append((name, options["committed_s"]))
        return load(name, embodiment, **options)

    monkeypatch.setattr(episode_pool, "load_policy", counted)
    worker = EpisodeWorker(SETTINGS)
    for key in (KEY, replace(KEY, seed=2), replace(KEY, task="cube_on_plate")):
        worker._policy(key)
    assert len(loaded) == 1
    worker._policy(replace(KEY, latency_s=0.3))
    assert len(loaded) == 2 and loaded[0] != loaded[1], "the expert plans with the latency"


def test_a_checkpoint_of_others_is_read_as_the_settings_say(monkeypatch):
    seen = {}

    def noted(name, embodiment, **options):
        seen.update(options)
        raise ValueError("enough")

    monkeypatch.setattr(episode_pool, "load_policy", noted)
    policy = PolicySettings(policy_cameras="camera1=wrist/rgb", policy_units="degrees")
    settings = replace(SETTINGS, stack=StackSettings(policy=policy))
    with pytest.raises(ValueError, match="enough"):
        EpisodeWorker(settings)._policy(KEY)
    assert seen["cameras"] == {"camera1": "wrist/rgb"} and seen["units"] == "degrees"
