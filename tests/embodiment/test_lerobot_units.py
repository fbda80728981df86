"""LeRobot's units: what the numbers of a joint can be taken for, and what they cannot."""

import numpy as np
import pytest

from multismolvla.embodiment import lerobot_units
from multismolvla.embodiment.so101 import SO101

# shoulder_pan, shoulder_lift, elbow_flex, wrist_flex, wrist_roll, gripper
STILL = [1.0, 2.0, 3.0, 4.0, 5.0, 40.0]


def recognise(**reach):
    values = np.array(STILL)
    for name, value in reach.items():
        values[SO101.joint_names.index(name)] = value
    return lerobot_units.recognise(-np.abs(values), np.abs(values), SO101)


def test_only_values_beyond_100_are_degrees_without_a_doubt():
    unit, reason = recognise(shoulder_pan=104.5)
    assert unit == "degrees" and "shoulder_pan reaches 104.5" in reason


@pytest.mark.parametrize(
    ("reach", "reason"),
    [
        # What LeRobot clips to.
        ({"shoulder_pan": 100.0}, "shoulder_pan reaches exactly 100"),
        # elbow_flex turns by 97 degrees.
        ({"elbow_flex": 98.5}, "elbow_flex reaches 98.5 within -100 to 100, more than its 97"),
        ({"shoulder_lift": 60.0}, "fits LeRobot's old units and degrees"),
        ({}, "radians, or an arm that hardly moves"),
        ({"shoulder_lift": 190.0}, "shoulder_lift reaches 190, beyond its 100 degrees"),
        ({"wrist_roll": 2048.0}, "ticks"),
        ({"wrist_roll": np.inf}, "no numbers"),
    ],
)
def test_all_else_is_asked_for(reach, reason):
    unit, found = recognise(**reach)
    assert unit == "" and reason in found


def test_the_gripper_says_nothing_since_both_units_count_it_in_per_cent():
    assert recognise(gripper=100.0)[0] == "" == recognise(gripper=130.0)[0]


def test_a_hundred_is_half_of_the_calibrated_travel():
    travel_rad = np.array([4.0, 3.5, 3.4, 3.3, 6.28, 1.0])
    scale, offset = lerobot_units.normalized_to_radians(SO101, travel_rad)
    np.testing.assert_allclose((100 * scale + offset)[:5], travel_rad[:5] / 2)
    # Per cent, in both.
    assert (100 * scale + offset)[5] == pytest.approx(SO101.upper_rad[5])
    assert offset[5] == SO101.lower_rad[5]


@pytest.mark.parametrize(
    ("units", "reach", "reason"),
    [
        ("degrees", 119.0, ""),
        ("degrees", 200.0, "shoulder_lift reaches 200; expected at most 120"),
        ("normalized", 100.0, ""),
        ("normalized", 101.0, "shoulder_lift reaches 101; expected at most 100"),
        ("radians", 1.8, ""),
        ("radians", 60.0, "shoulder_lift reaches 60; expected at most 2.094"),
    ],
)
def test_what_a_person_says_is_held_against_the_values(units, reach, reason):
    values = np.array([0.5, reach, 0.5, 0.5, 0.5, 90.0])
    assert lerobot_units.contradiction(-values, values, SO101, units) == reason
