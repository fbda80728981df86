"""The units of a LeRobot data set's joints: known, asked for or refused, never assumed."""

import numpy as np
import pytest
from made_up_lerobot import DATA, ROWS, edit_table, make_set, states

from multismolvla.data.episode import EpisodeError
from multismolvla.data.lerobot_reader import LeRobotReader
from multismolvla.data.lerobot_set import Given
from multismolvla.embodiment.so101 import SO101

CAMERAS = {"front": "rgb"}
# What an SO-101 recorded until LeRobot 0.4.3: from stop to stop of its calibrated travel.
NORMALIZED = np.linspace(-100, 100, ROWS)[:, None] * np.ones(6, np.float32)
NORMALIZED[:, 5] = np.linspace(0, 100, ROWS)


@pytest.fixture
def folder(tmp_path):
    return make_set(tmp_path / "set")


def put(folder, values):
    edit_table(folder, DATA, state=values.tolist(), action=values.tolist())


def test_states_from_minus_100_to_100_are_never_taken_for_degrees(folder):
    put(folder, NORMALIZED)
    with pytest.raises(EpisodeError, match=r"reaches exactly 100, .*--units normalized with the"):
        LeRobotReader(folder, SO101, CAMERAS)


@pytest.mark.parametrize("scale", [0.02, 0.5, 0.9])
def test_what_fits_several_units_is_asked_for(folder, scale):
    put(folder, NORMALIZED * scale)
    with pytest.raises(EpisodeError, match=r"no known unit: .*say --units degrees"):
        LeRobotReader(folder, SO101, CAMERAS)


def test_the_action_counts_as_well_as_the_state(folder):
    low = states() * 0.5
    edit_table(folder, DATA, state=low.tolist(), action=low.tolist())
    with pytest.raises(EpisodeError, match="no known unit"):
        LeRobotReader(folder, SO101, CAMERAS)
    edit_table(folder, DATA, action=states().tolist())
    episode = LeRobotReader(folder, SO101, CAMERAS).read(0)
    np.testing.assert_allclose(episode.state[:, 0], np.deg2rad(low[:, 0]), atol=1e-6)


def test_with_the_calibration_100_is_half_of_the_travel(folder):
    put(folder, NORMALIZED)
    travel_rad = np.array([3.8, 3.4, 3.3, 3.2, 6.2, 1.5])
    given = Given("normalized", travel_rad)
    episode = LeRobotReader(folder, SO101, CAMERAS, given).read(0)
    np.testing.assert_allclose(episode.state[-1, :5], travel_rad[:5] / 2, atol=1e-6)
    np.testing.assert_allclose(episode.state[0, :5], -travel_rad[:5] / 2, atol=1e-6)
    # The gripper's 0 to 100 are its whole range, as with degrees.
    assert episode.action[0, 5] == pytest.approx(SO101.lower_rad[5])
    assert episode.action[-1, 5] == pytest.approx(SO101.upper_rad[5])


def test_without_the_calibration_it_is_asked_for(folder):
    put(folder, NORMALIZED)
    with pytest.raises(EpisodeError, match="give the calibration: --calibration FILE"):
        LeRobotReader(folder, SO101, CAMERAS, Given("normalized"))


def test_another_zero_or_ticks_are_refused_until_somebody_says_what_they_are(folder):
    # LeRobot before 0.2 counted shoulder_lift from the other end.
    old = states()
    old[:, 1] += 250.0
    put(folder, old)
    with pytest.raises(EpisodeError, match=r"shoulder_lift reaches 195, beyond its 100 degrees"):
        LeRobotReader(folder, SO101, CAMERAS)
    (line,) = LeRobotReader(folder, SO101, CAMERAS, Given("degrees")).warnings
    assert "should be in degrees, and shoulder_lift reaches 195; expected at most 120" in line


@pytest.mark.parametrize(
    ("units", "values", "line"),
    [
        ("radians", states(), "should be in radians, and shoulder_pan reaches 104"),
        ("normalized", states(), "should be in normalized, and shoulder_pan reaches 104"),
    ],
)
def test_what_speaks_against_the_given_units_is_said(folder, units, values, line):
    put(folder, values)
    given = Given(units, np.ones(6))
    assert line in LeRobotReader(folder, SO101, CAMERAS, given).warnings[0]


def test_radians_are_taken_as_they_are(folder):
    put(folder, np.deg2rad(states()))
    reader = LeRobotReader(folder, SO101, CAMERAS, Given("radians"))
    assert reader.warnings == []
    np.testing.assert_allclose(reader.read(0).state, np.deg2rad(states()), atol=1e-6)


def test_units_of_no_kind_are_refused(folder):
    with pytest.raises(EpisodeError, match="--units: is 'gon'; expected degrees"):
        LeRobotReader(folder, SO101, CAMERAS, Given("gon"))
