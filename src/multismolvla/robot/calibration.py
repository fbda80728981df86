"""Calibration of one arm in LeRobot's JSON format, and ticks <-> radians.

The file maps motor name -> {id, drive_mode, homing_offset, range_min, range_max}. homing_offset is
what the servo's register Homing_Offset holds: the servo itself reports actual position minus
homing_offset, so range_min, range_max and all ticks outside the servo already include it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from multismolvla.checked_file import json_value, load_checked
from multismolvla.embodiment.so101 import SO101
from multismolvla.robot.protocol import MAX_ID
from multismolvla.robot.registers import TICKS_PER_TURN

# The servo sits on the joint's axis, without a gear between. (LeRobot takes 4095 ticks for a turn,
# which is 0.02 % off.)
RAD_PER_TICK = 2 * math.pi / TICKS_PER_TURN

# Homing_Offset has 11 bits and a sign.
MAX_HOMING_OFFSET = 2047

GRIPPER = "gripper"

# Turns without an end, so that a sweep cannot find one (as in LeRobot).
FULL_TURN = "wrist_roll"

# A joint that was swept less than this was forgotten: no joint of the arm has so little travel.
LEAST_TRAVEL = 500

# A calibrated travel beyond the joint's own by more than this: the count ran over its end during
# the sweep, or the servo was swept off the arm. Arms differ by some per cent.
MOST_TRAVEL = 1.5

# Keys of a calibration of LeRobot before 0.2, lists with a value per motor. Source: LeRobot 0.1.0,
# lerobot/common/robot_devices/robots/feetech_calibration.py.
_LEROBOT_0_1_KEYS = frozenset(
    ("homing_offset", "drive_mode", "start_pos", "end_pos", "calib_mode", "motor_names")
)


class CalibrationError(ValueError):
    """A calibration cannot be used; the message names file, key, value and what was expected."""


@dataclass(frozen=True)
class MotorCalibration:
    """Calibration of one servo.

    Attributes:
        id: id on the bus.
        drive_mode: 1 where the servo turns against the joint, else 0.
        homing_offset: value of the servo's register Homing_Offset, ticks.
        range_min, range_max: the joint's travel, ticks as the servo reports them.
    """

    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int


def check_travel(name: str, range_min: int, range_max: int) -> None:
    """Refuse a travel that the joint cannot have.

    Raises:
        ValueError: one line with the joint's keys and values.
    """
    travel = range_max - range_min
    found = f"{name} goes from {range_min} to {range_max}, {travel} ticks"
    if range_min < 0 or range_max >= TICKS_PER_TURN:
        raise ValueError(
            f"{found}; expected 0 to {TICKS_PER_TURN - 1}: calibrate again with `so101 calibrate`, "
            "begin with every joint in the middle"
        )
    if travel < LEAST_TRAVEL:
        raise ValueError(
            f"{found}; expected at least {LEAST_TRAVEL}: calibrate again with `so101 calibrate` "
            "and move every joint through its whole travel"
        )
    joint = SO101.joints[SO101.joint_names.index(name)]
    own = round((joint.upper_rad - joint.lower_rad) / RAD_PER_TICK)
    if name != FULL_TURN and travel > MOST_TRAVEL * own:
        raise ValueError(
            f"{found}; expected about {own}, this joint turns no farther (only {FULL_TURN} does): "
            "calibrate again with `so101 calibrate`, begin with every joint in the middle"
        )


class Calibration:
    """Calibration of the six servos, in the order of `SO101.joint_names`.

    A joint's zero is the middle of its travel. The gripper's lower limit is the end of its travel
    where it is closed, so that an error of the sweep does not move where the fingers meet.
    """

    def __init__(self, motors: Mapping[str, MotorCalibration]) -> None:
        self.motors = {name: motors[name] for name in SO101.joint_names}
        rows = list(self.motors.values())
        self.ids: tuple[int, ...] = tuple(row.id for row in rows)
        self._min = np.array([row.range_min for row in rows])
        self._max = np.array([row.range_max for row in rows])
        sign = np.array([-1 if row.drive_mode else 1 for row in rows])
        self._rad_per_tick = sign * RAD_PER_TICK
        zero = (self._min + self._max) / 2
        gripper = SO101.joint_names.index(GRIPPER)
        closed = self._max[gripper] if sign[gripper] < 0 else self._min[gripper]
        zero[gripper] = closed - SO101.lower_rad[gripper] / self._rad_per_tick[gripper]
        self._zero = zero

    def to_radians(self, ticks: np.ndarray) -> np.ndarray:
        """(6,) ticks -> (6,) radians."""
        return (np.asarray(ticks) - self._zero) * self._rad_per_tick

    def to_ticks(self, radians: np.ndarray) -> np.ndarray:
        """(6,) radians -> (6,) int ticks within each joint's calibrated travel.

        Raises:
            ValueError: a value is not finite.
        """
        return np.clip(self.unclipped_ticks(radians), self._min, self._max)

    def unclipped_ticks(self, radians: np.ndarray) -> np.ndarray:
        """As `to_ticks`, also beyond the calibrated travel."""
        if not np.all(np.isfinite(radians)):
            raise ValueError(f"joint positions are {radians}; expected finite radians")
        ticks = self._zero + np.asarray(radians) / self._rad_per_tick
        # Not rint: it rounds halves to even, which would make ticks of uneven width.
        return np.floor(ticks + 0.5).astype(int)

    def to_radians_per_s(self, ticks_per_s: np.ndarray) -> np.ndarray:
        """(6,) ticks per second -> (6,) radians per second."""
        return np.asarray(ticks_per_s) * self._rad_per_tick

    @property
    def travel_rad(self) -> np.ndarray:
        """(6,) how far each joint was turned when it was calibrated."""
        return (self._max - self._min) * RAD_PER_TICK

    def signs(self) -> np.ndarray:
        """(6,) +1 or -1: direction of the servo relative to the joint."""
        return np.sign(self._rad_per_tick)

    def save(self, path: str | Path) -> None:
        """Write the file, replacing it only when complete.

        Raises:
            CalibrationError: the file cannot be written.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(path.name + ".new")
            draft.write_text(
                json.dumps({name: asdict(row) for name, row in self.motors.items()}, indent=4)
                + "\n"
            )
            draft.replace(path)
        except OSError as error:
            raise CalibrationError(
                f"{path}: cannot write the calibration: {error.strerror}"
            ) from None


# Inclusive range of every value.
_RANGES = {
    "id": (0, MAX_ID),
    "drive_mode": (0, 1),
    "homing_offset": (-MAX_HOMING_OFFSET, MAX_HOMING_OFFSET),
    "range_min": (0, TICKS_PER_TURN - 1),
    "range_max": (0, TICKS_PER_TURN - 1),
}


@dataclass(frozen=True)
class _Entry(MotorCalibration):
    """Calibration of one servo as the file has it."""

    def __post_init__(self) -> None:
        for key, (least, most) in _RANGES.items():
            value = getattr(self, key)
            if not least <= value <= most:
                raise ValueError(
                    f"{key} is {value}; expected a whole number from {least} to {most}"
                )
        if self.range_min >= self.range_max:
            raise ValueError(
                f"range_min is {self.range_min}; expected less than range_max "
                f"({self.range_max}); calibrate again with `so101 calibrate`"
            )


def load_calibration(path: str | Path) -> Calibration:
    """Read and check a calibration.

    Raises:
        CalibrationError: the file is missing, is not JSON, or a key or value is missing, unknown or
            wrong.
    """
    path = Path(path)
    if not path.exists():
        raise CalibrationError(
            f"{path}: no calibration of the arm there; make one with "
            f"`so101 calibrate --calibration {path}` or copy LeRobot's"
        )
    entries = dataclasses.make_dataclass(
        "Motors", [(name, _Entry) for name in SO101.joint_names], frozen=True
    )
    content = load_checked(path, entries, CalibrationError, "the calibration", _parse)
    motors = {
        name: MotorCalibration(**asdict(getattr(content, name))) for name in SO101.joint_names
    }
    owners: dict[int, str] = {}
    for name, motor in motors.items():
        if motor.id in owners:
            raise CalibrationError(
                f"{path}: {name}.id is {motor.id}, which {owners[motor.id]} has already; "
                "every servo needs its own (`so101 set-id`)"
            )
        owners[motor.id] = name
        try:
            check_travel(name, motor.range_min, motor.range_max)
        except ValueError as error:
            raise CalibrationError(f"{path}: {error}") from None
    return Calibration(motors)


def _parse(text: str) -> object:
    content = json_value(text)
    if isinstance(content, dict) and len(_LEROBOT_0_1_KEYS & content.keys()) > 1:
        raise ValueError(
            "a calibration of LeRobot 0.1, whose ticks and zeros are others; calibrate again with "
            "`so101 calibrate` or with LeRobot 0.2 or newer"
        )
    return content
