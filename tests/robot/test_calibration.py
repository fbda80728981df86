"""Calibration files in LeRobot's format, and ticks <-> radians."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.embodiment.so101 import SO101
from multismolvla.robot.calibration import (
    Calibration,
    CalibrationError,
    MotorCalibration,
    load_calibration,
)
from multismolvla.robot.servos import simulated_calibration

SHIPPED = Path(__file__).parents[2] / "config" / "so101_sim_calibration.json"
GRIPPER = SO101.joint_names.index("gripper")


@st.composite
def calibrations(draw):
    motors = {}
    for index, name in enumerate(SO101.joint_names):
        low = draw(st.integers(0, 2000))
        high = draw(st.integers(low + 500, 4095))
        offset = draw(st.integers(-2047, 2047))
        motors[name] = MotorCalibration(index + 1, draw(st.integers(0, 1)), offset, low, high)
    return Calibration(motors)


@settings(max_examples=100)
@given(calibrations(), st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6))
def test_ticks_to_radians_and_back(calibration, shares):
    rows = calibration.motors.values()
    ticks = np.array(
        [
            row.range_min + round(share * (row.range_max - row.range_min))
            for row, share in zip(rows, shares, strict=True)
        ]
    )
    # Half a tick of rounding where the middle of the travel lies between two ticks.
    assert np.abs(calibration.to_ticks(calibration.to_radians(ticks)) - ticks).max() <= 1


@settings(max_examples=100)
@given(calibrations(), st.lists(st.floats(-10.0, 10.0), min_size=6, max_size=6))
def test_ticks_never_leave_the_calibrated_travel(calibration, radians):
    for ticks, row in zip(
        calibration.to_ticks(np.array(radians)), calibration.motors.values(), strict=True
    ):
        assert row.range_min <= ticks <= row.range_max


def test_zero_is_the_middle_and_the_gripper_s_lower_limit_is_closed():
    motors = {
        name: MotorCalibration(index + 1, 0, 100, 1000, 3000)
        for index, name in enumerate(SO101.joint_names)
    }
    calibration = Calibration(motors)
    radians = calibration.to_radians(np.full(6, 2000))
    np.testing.assert_allclose(radians[:5], 0.0)
    assert calibration.to_radians(np.full(6, 1000))[GRIPPER] == pytest.approx(-0.174533)
    assert calibration.to_radians(np.full(6, 2000 + 1024))[0] == pytest.approx(math.pi / 2)


def test_drive_mode_turns_the_joint_round():
    motors = {
        name: MotorCalibration(index + 1, 1, 0, 1000, 3000)
        for index, name in enumerate(SO101.joint_names)
    }
    calibration = Calibration(motors)
    radians = calibration.to_radians(np.full(6, 3000))
    assert radians[0] == pytest.approx(-1000 * 2 * math.pi / 4096)
    assert radians[GRIPPER] == pytest.approx(-0.174533)
    assert (calibration.to_radians_per_s(np.ones(6)) < 0).all()


def test_not_finite_is_never_a_goal():
    with pytest.raises(ValueError, match="expected finite"):
        simulated_calibration().to_ticks(np.array([0, 0, 0, 0, 0, math.nan]))


def test_the_shipped_file_is_how_the_simulated_arm_is_mounted():
    assert load_calibration(SHIPPED).motors == simulated_calibration().motors
    low = simulated_calibration().to_radians(
        np.array([row.range_min for row in simulated_calibration().motors.values()])
    )
    high = simulated_calibration().to_radians(
        np.array([row.range_max for row in simulated_calibration().motors.values()])
    )
    assert (low <= SO101.lower_rad + 1e-9).all()
    assert (high >= SO101.upper_rad - 1e-9).all()


def test_save_and_load(tmp_path):
    path = tmp_path / "folder" / "arm.json"
    simulated_calibration().save(path)
    assert load_calibration(path).motors == simulated_calibration().motors
    assert list(json.loads(path.read_text())["gripper"]) == [
        "id",
        "drive_mode",
        "homing_offset",
        "range_min",
        "range_max",
    ]


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(CalibrationError, match=r"nothing\.json: no calibration.*so101 calibrate"):
        load_calibration(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("elbow_flex"), "missing key 'elbow_flex'"),
        (lambda c: c.update(tail={}), "unknown key 'tail'; expected shoulder_pan"),
        (lambda c: c["gripper"].pop("id"), "missing key 'gripper.id'"),
        (lambda c: c["gripper"].update(speed=1), "unknown key 'gripper.speed'"),
        (lambda c: c.update(gripper=7), "gripper is 7; expected keys"),
        (lambda c: c["gripper"].update(id="6"), "gripper.id is '6'; expected a whole number"),
        (lambda c: c["gripper"].update(drive_mode=2), "drive_mode is 2; expected .* 0 to 1"),
        (lambda c: c["gripper"].update(range_max=4096), "range_max is 4096; expected .* to 4095"),
        (lambda c: c["gripper"].update(homing_offset=2048), "homing_offset is 2048"),
        (lambda c: c["gripper"].update(range_min=4000), "range_min is 4000; expected less than"),
        (lambda c: c["gripper"].update(id=1), "gripper.id is 1, which shoulder_pan has already"),
    ],
)
def test_a_wrong_file_names_key_and_value(tmp_path, change, message):
    content = json.loads(SHIPPED.read_text())
    change(content)
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match=message):
        load_calibration(path)


@pytest.mark.parametrize(
    ("joint", "low", "high"),
    [
        ("shoulder_pan", 0, 4095),
        ("shoulder_lift", 0, 4095),
        ("elbow_flex", 100, 4000),
        ("wrist_flex", 0, 4095),
        ("gripper", 0, 4095),
    ],
)
def test_a_joint_that_cannot_turn_that_far_is_refused(tmp_path, joint, low, high):
    content = json.loads(SHIPPED.read_text())
    content[joint].update(range_min=low, range_max=high)
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(content))
    found = rf"arm\.json: {joint} goes from {low} to {high}, .*only wrist_roll does"
    with pytest.raises(CalibrationError, match=found):
        load_calibration(path)


def test_wrist_roll_may_turn_all_the_way_and_every_joint_somewhat_farther(tmp_path):
    content = json.loads(SHIPPED.read_text())
    content["wrist_roll"].update(range_min=0, range_max=4095)
    content["shoulder_lift"].update(range_min=700, range_max=3400)
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(content))
    assert load_calibration(path).motors["shoulder_lift"].range_max == 3400


def test_a_joint_that_was_not_swept_is_refused(tmp_path):
    content = json.loads(SHIPPED.read_text())
    content["elbow_flex"].update(range_min=2040, range_max=2055)
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match="2040 to 2055, 15 ticks; expected at least 500"):
        load_calibration(path)


def test_a_calibration_of_lerobot_0_1_is_named(tmp_path):
    path = tmp_path / "main_follower.json"
    path.write_text(
        json.dumps(
            {
                "homing_offset": [2048, 3072, 3072, 1024, -1024, -2048],
                "drive_mode": [0, 1, 1, 0, 0, 0],
                "start_pos": [2015, 2900, 1040, 1100, 2000, 1900],
                "end_pos": [3039, 4000, 2100, 2200, 3100, 3000],
                "calib_mode": ["DEGREE"] * 5 + ["LINEAR"],
                "motor_names": list(SO101.joint_names),
            }
        )
    )
    with pytest.raises(
        CalibrationError, match=r"a calibration of LeRobot 0\.1, .* calibrate again"
    ):
        load_calibration(path)


def test_a_mark_of_byte_order_is_no_fault(tmp_path):
    path = tmp_path / "arm.json"
    path.write_bytes(b"\xef\xbb\xbf" + SHIPPED.read_bytes())
    assert load_calibration(path).motors == simulated_calibration().motors


def test_another_encoding_is_named(tmp_path):
    path = tmp_path / "arm.json"
    path.write_bytes(SHIPPED.read_text().encode("utf-16"))
    with pytest.raises(CalibrationError, match=r"arm\.json: not UTF-8 text"):
        load_calibration(path)


def test_values_in_other_units_are_refused(tmp_path):
    path = tmp_path / "arm.json"
    for low, high, expected in (
        (-100, 100, "range_min is -100; expected a whole number from 0"),
        (-1.74, 1.74, "range_min is -1.74; expected a whole number"),
    ):
        content = json.loads(SHIPPED.read_text())
        content["shoulder_lift"].update(range_min=low, range_max=high)
        path.write_text(json.dumps(content))
        with pytest.raises(CalibrationError, match=rf"shoulder_lift\.{expected}"):
            load_calibration(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("[]", "expected keys and"),
        ('{"gripper": {"id": 6, "id": 5}}', "key 'id' is there 2 times; expected once"),
    ],
)
def test_what_is_no_calibration_at_all(tmp_path, text, message):
    path = tmp_path / "arm.json"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=message):
        load_calibration(path)
