"""A pose check learns from recordings alone whether pictures fit the joints."""

import numpy as np
from synthetic_cache import STREAMS, draw, write_cache

from multismolvla import cli
from multismolvla.data.cache import TrainingCache, array_file
from multismolvla.modalities.conversion import from_counts
from multismolvla.modalities.rgb import RGB
from multismolvla.pose_check.check import PoseCheck
from multismolvla.pose_check.weights import load_weights
from multismolvla.training.pose_check.samples import SHARES, PoseSamples

# Far apart, so that any training run on any processor tells them from one another.
PLACES = np.array([(-0.6, -0.6), (0.6, 0.6)])


def tracking_cache(folder):
    """A cache in which a square stands where the first two joints say: at one of two places."""
    write_cache(folder, episodes=30, streams=("rgb",), held_out=4)
    rng = np.random.default_rng(1)
    states = np.array(TrainingCache(folder).array("state"))
    # It stays there for half an episode: joints of the samples beside are the same.
    states[:, :2] = np.repeat(PLACES[rng.integers(len(PLACES), size=len(states) // 8)], 8, axis=0)
    np.save(array_file(folder, "state"), states)
    frames = np.stack([draw("rgb", state[:2], rng) for state in states])
    np.save(array_file(folder, "rgb"), frames)
    return folder


def test_it_learns_whether_the_picture_shows_where_the_joints_are(tmp_path):
    cache = tracking_cache(tmp_path / "cache")
    out = tmp_path / "check.safetensors"
    command = ["pose-check", str(cache), "--out", str(out), "--workers", "1"]
    command += ["--steps", "200", "--clearance", "1"]
    assert cli.main(command) == 0
    assert "| `rgb` |" in out.with_suffix(".md").read_text()
    assert out.with_suffix(".png").stat().st_size > 1000
    check = PoseCheck(load_weights(out))
    rng = np.random.default_rng(2)

    def found(place, joints) -> bool:
        check.forget()
        for _ in range(40):
            frame = from_counts(RGB, draw("rgb", place, rng))
            verdict = check.judge({"rgb": frame}, np.array([*joints, 0.0, 0.0, 0.0, 0.0]))
        return bool(verdict)

    for joints in PLACES:
        for place in PLACES:
            assert found(place, joints) is not np.array_equal(place, joints), (place, joints)


def test_samples_that_fit_are_those_that_were_left_alone(tmp_path):
    cache = TrainingCache(write_cache(tmp_path / "cache", episodes=6))
    samples = PoseSamples([cache], "wrist/depth", "train", np.random.default_rng(0))
    pictures, joints, misfit = samples.draw(400)
    assert pictures.shape[0] == joints.shape[0] == 400 and np.isfinite(pictures).all()
    damaged = 1.0 - SHARES["sound"] - SHARES["worse"]
    assert 0.75 * damaged < misfit.mean() <= 1.1 * damaged


def test_frames_that_were_masked_teach_nothing(tmp_path):
    folder = write_cache(tmp_path / "cache", episodes=6)
    mask = np.array(TrainingCache(folder).array("mask"))
    mask[::2, STREAMS.index("rgb")] = False
    np.save(array_file(folder, "mask"), mask)
    samples = PoseSamples([TrainingCache(folder)], "rgb", "train", np.random.default_rng(0))
    indices = np.concatenate([indices for indices, _ in samples.sequences()])
    assert (indices % 2 == 1).all()


def test_a_stream_that_no_cache_has_is_one_line(tmp_path, capsys):
    cache = write_cache(tmp_path / "cache", episodes=3)
    out = tmp_path / "check.safetensors"
    assert cli.main(["pose-check", str(cache), "--only", "front/rgb", "--out", str(out)]) == 2
    assert "has no stream 'front/rgb'" in capsys.readouterr().err
    assert not out.exists()
