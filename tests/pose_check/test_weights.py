"""Weights come back as they were written, and files that are none are one clear line."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from multismolvla.pose_check.check import NONE, SIMULATION, PoseCheck, find_weights
from multismolvla.pose_check.weights import (
    PoseCheckError,
    StreamWeights,
    load_weights,
    save_weights,
)


def test_what_was_written_comes_back(tmp_path):
    arrays = {"joints.0.bias": np.array([0.5, -2.0], np.float32)}
    file = tmp_path / "weights.safetensors"
    written = {"wrist/rgb": StreamWeights("rgb", 1.25, arrays)}
    save_weights(file, written, seed=3)
    read = load_weights(file)
    assert list(read) == ["wrist/rgb"]
    assert (read["wrist/rgb"].kind, read["wrist/rgb"].margin) == ("rgb", 1.25)
    assert read["wrist/rgb"].arrays["joints.0.bias"].tolist() == [0.5, -2.0]


def test_a_file_that_is_none_is_one_line(tmp_path):
    missing, text, other = (tmp_path / name for name in ("missing", "text", "other"))
    text.write_text("no weights")
    save_file({"layer": np.zeros(1)}, other)
    for file in (missing, text, other):
        with pytest.raises(PoseCheckError, match=str(file)) as caught:
            find_weights(str(file))
        assert "\n" not in str(caught.value)


def test_an_incomplete_network_is_refused():
    with pytest.raises(PoseCheckError, match=r"no layer 'picture\.0"):
        PoseCheck({"rgb": StreamWeights("rgb", 0.0, {})})


def test_the_names_stand_for_what_they_say():
    assert find_weights(NONE) == {}
    assert set(find_weights(SIMULATION)) >= {"rgb", "wrist/segmentation"}
