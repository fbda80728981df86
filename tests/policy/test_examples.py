"""Example observations of a checkpoint: written, read, and refused where they are another's."""

import numpy as np
import pytest

from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.registry import kinds
from multismolvla.policy.dry_run import synthetic_observation
from multismolvla.policy.examples import (
    FILE_NAME,
    ExamplesError,
    load_examples,
    made_up_examples,
    save_examples,
)
from multismolvla.policy.shipped import FOLDERS
from multismolvla.streams import Stream

STREAMS = tuple(Stream(f"wrist/{kind}", kind, 8, 12, 15.0, "camera") for kind in kinds())
NAMES = [stream.name for stream in STREAMS]


def observations():
    rng = np.random.default_rng(1)
    made = [synthetic_observation(STREAMS, NAMES, rng, SO101.home_rad) for _ in range(2)]
    made[1].frames["wrist/depth"][2, 3] = np.nan
    return made


def test_what_is_written_comes_back(tmp_path):
    save_examples(tmp_path, observations())
    read = load_examples(tmp_path, STREAMS, 6)
    assert len(read) == 2
    for ours, expected in zip(read, observations(), strict=True):
        assert ours.task == expected.task and np.array_equal(ours.state, expected.state)
        assert all(ours.mask.values()) and list(ours.frames) == NAMES
        for name, frame in expected.frames.items():
            assert ours.frames[name].dtype == frame.dtype
            np.testing.assert_allclose(ours.frames[name], frame, rtol=5e-4)


def test_a_checkpoint_may_bring_none(tmp_path):
    assert load_examples(tmp_path, STREAMS, 6) == []
    first, second = made_up_examples(STREAMS, SO101.home_rad)
    assert all(first.mask.values())
    assert not np.array_equal(first.frames["wrist/rgb"], second.frames["wrist/rgb"])


def test_examples_of_other_streams_are_one_line(tmp_path):
    save_examples(tmp_path, observations())
    other = (Stream("side/rgb", "rgb", 8, 12, 15.0, "camera"),)
    with pytest.raises(ExamplesError, match="no example observations of this checkpoint"):
        load_examples(tmp_path, other, 6)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x04pickled"])
def test_a_damaged_file_is_one_line_and_nothing_is_unpickled(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ExamplesError) as error:
        load_examples(tmp_path, STREAMS, 6)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not (FOLDERS["small"] / FILE_NAME).exists(), reason="not in this copy")
def test_those_of_small_are_pictures_and_not_noise():
    from multismolvla.policy.config import load_config

    examples = load_examples(FOLDERS["small"], load_config(FOLDERS["small"]).streams, 6)
    assert len(examples) == 3
    for example in examples:
        rows = example.frames["rgb"].astype(float)
        assert np.abs(np.diff(rows, axis=1)).mean() < 20.0
