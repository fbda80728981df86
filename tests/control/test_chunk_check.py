"""A chunk that cannot be executed is refused in one line."""

import numpy as np
import pytest

from multismolvla.control.inference import check_chunk
from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import ActionChunk, Observation

OBSERVATION = Observation(7, {}, {}, np.zeros(6), "pick")


def test_a_good_chunk_passes():
    chunk = ActionChunk(7, 0.02, np.zeros((3, 6)))
    assert check_chunk(chunk, OBSERVATION, SO101.joint_names) is chunk


def with_nan() -> np.ndarray:
    actions = np.zeros((3, 6))
    actions[1, 5] = np.nan
    return actions


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (None, "returned NoneType; expected an ActionChunk"),
        (ActionChunk(7, 0.02, with_nan()), "nan for gripper in row 1"),
        (ActionChunk(7, 0.02, np.full((2, 6), np.inf)), "inf for shoulder_pan in row 0"),
        (ActionChunk(7, 0.02, np.zeros((0, 6))), r"shape \(0, 6\)"),
        (ActionChunk(7, 0.02, np.zeros((2, 6), dtype=int)), "int64; expected floating point"),
        (ActionChunk(7, 0.02, np.zeros((2, 7))), r"shape \(2, 7\); expected \(T, 6\)"),
        (ActionChunk(8, 0.02, np.zeros((2, 6))), "has the stamp of 8 ns; expected 7 ns"),
    ],
)
def test_a_bad_chunk_says_what_is_wrong(answer, complaint):
    with pytest.raises(ValueError, match=complaint):
        check_chunk(answer, OBSERVATION, SO101.joint_names)
