"""Episodes are checked when they are made, and give chunks whose rows are where they should be."""

import numpy as np
import pytest
from made_up_episode import made_up_episode, made_up_steps

from multismolvla.data.episode import EpisodeError


def test_a_recorded_chunk_is_the_target_at_its_row():
    episode = made_up_episode()
    np.testing.assert_array_equal(episode.chunk_at(4), episode.chunks[2])
    np.testing.assert_array_equal(episode.chunk_at(4, 7), episode.chunks[2][:7])


def test_without_a_chunk_the_labels_are_it_from_the_one_before_the_row():
    episode = made_up_episode(rows=9)
    chunk = episode.chunk_at(3, 4)
    np.testing.assert_array_equal(chunk, episode.action[2:6].astype(np.float32))
    assert chunk.dtype == np.float32


def test_beyond_the_end_the_last_label_repeats():
    episode = made_up_episode(rows=9)
    chunk = episode.chunk_at(7, 50)
    assert chunk.shape == (50, 6)
    np.testing.assert_array_equal(chunk[2:], np.tile(episode.action[8].astype(np.float32), (48, 1)))


def test_at_the_first_row_the_arm_is_where_it_is_told_to_be():
    chunks = {"chunks": np.zeros((0, 50, 6), np.float32), "chunk_index": np.zeros(0, np.int64)}
    episode = made_up_episode(**chunks)
    chunk = episode.chunk_at(0, 3)
    np.testing.assert_array_equal(chunk[0], episode.state[0].astype(np.float32))
    np.testing.assert_array_equal(chunk[1:], episode.action[:2].astype(np.float32))


def test_a_step_belongs_to_its_own_row_and_beyond_the_end_the_arm_holds_still():
    none = {"chunks": np.zeros((0, 50, 7), np.float32), "chunk_index": np.zeros(0, np.int64)}
    episode = made_up_steps(rows=9, **none)
    assert (episode.deltas, episode.period_s, len(episode.action_names)) == (True, 0.05, 7)
    chunk = episode.chunk_at(6, 50)
    assert chunk.shape == (50, 7) and chunk.dtype == np.float32
    np.testing.assert_array_equal(chunk[:3], episode.action[6:].astype(np.float32))
    assert not chunk[3:, :6].any(), "a step that is repeated would move on"
    assert (chunk[3:, 6] == np.float32(episode.action[8, 6])).all()
    np.testing.assert_array_equal(episode.chunk_at(0, 2), episode.action[:2].astype(np.float32))


def test_a_recorded_chunk_of_steps_is_continued_by_holding_still():
    episode = made_up_steps()
    chunk = episode.chunk_at(4, 60)
    np.testing.assert_array_equal(chunk[:50], episode.chunks[2])
    assert not chunk[50:, :6].any() and (chunk[50:, 6] == episode.chunks[2][-1, 6]).all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"state": np.zeros((9, 7))}, r"state has shape \(9, 7\); expected \(9, 8\)"),
        ({"executed": np.zeros((9, 8))}, r"executed has shape \(9, 8\); expected \(9, 7\)"),
        ({"chunks": np.zeros((5, 50, 8), np.float32)}, r"expected \(5, any, 7\)"),
    ],
)
def test_states_and_steps_have_widths_of_their_own(changes, named):
    with pytest.raises(EpisodeError, match=named):
        made_up_steps(**changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"state": np.zeros((9, 5))}, "state"),
        ({"executed": np.zeros((8, 6))}, "executed"),
        ({"stamps_ns": np.zeros(9, np.int64)}, "stamps"),
        ({"chunk_index": np.array([0, 2, 4, 6, 9])}, "chunk_index"),
        ({"object_poses": {"cube": np.zeros((9, 6))}}, "cube"),
        ({"frame_index": {}}, "frame_index"),
        ({"masks": dict.fromkeys(("rgb",), np.ones(2, bool))}, "masks"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(changes, named):
    with pytest.raises(EpisodeError, match=named):
        made_up_episode(**changes)


def test_frames_that_are_not_in_stored_units_are_refused():
    with pytest.raises(EpisodeError, match=r"frames\['depth'\] are float32; expected uint16"):
        made_up_episode(streams=("depth",), frames={"depth": np.zeros((5, 6, 8), np.float32)})
