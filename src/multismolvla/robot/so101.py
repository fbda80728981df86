"""An SO-101 on its servo bus: radians outside, ticks inside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from multismolvla.embodiment.so101 import SO101
from multismolvla.robot import registers
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.calibration import GRIPPER, Calibration
from multismolvla.robot.errors import RegisterMismatch, ServoStatusError, TorqueLost
from multismolvla.robot.protocol import (
    OUT_OF_VOLTAGE,
    OVERLOAD,
    SERIOUS_BITS,
    describe_status,
)
from multismolvla.robot.registers import (
    AMPERE_PER_UNIT,
    LOAD_PER_UNIT,
    PHASE_MULTI_TURN,
    PRESENT_LOAD,
    PRESENT_POSITION,
    PRESENT_VELOCITY,
    VOLT_PER_UNIT,
    Register,
)
from multismolvla.robot.turn_counter import TurnCounter

GRIPPER_JOINT = SO101.joint_names.index(GRIPPER)

# As LeRobot 0.4.4 configures an SO-101 (lerobot/robots/so101_follower/so101_follower.py): answer at
# once, position mode, a softer loop than the factory's against shaking, full acceleration.
CONFIGURATION: tuple[tuple[Register, int], ...] = (
    (registers.RETURN_DELAY, 0),
    (registers.P_COEFFICIENT, 16),
    (registers.D_COEFFICIENT, 32),
    (registers.I_COEFFICIENT, 0),
    (registers.OPERATING_MODE, 0),
    (registers.ACCELERATION, 254),
    (registers.MAXIMUM_ACCELERATION, 254),
)

# So that the gripper does not burn out while it holds an object: half the torque, half the current,
# and a quarter of the torque once overloaded.
GRIPPER_CONFIGURATION: tuple[tuple[Register, int], ...] = (
    (registers.MAX_TORQUE, 500),
    (registers.TORQUE_LIMIT, 500),
    (registers.PROTECTION_CURRENT, 250),
    (registers.OVERLOAD_TORQUE, 25),
)

OTHER_ARM = (
    "the calibration is of another arm, or the servo is new: run `so101 calibrate`, or "
    "`so101 restore` to write the file to the servos"
)

# A joint further than this from its goal is not held there: something blocks it or has moved it.
HOLD_TOLERANCE_RAD = 0.15

# One request reads position, velocity and load.
STATE_ADDRESS = PRESENT_POSITION.address
STATE_BYTES = PRESENT_LOAD.address + PRESENT_LOAD.size - STATE_ADDRESS

DIAGNOSTICS_ADDRESS = registers.PRESENT_VOLTAGE.address
DIAGNOSTICS_BYTES = (
    registers.PRESENT_CURRENT.address + registers.PRESENT_CURRENT.size - DIAGNOSTICS_ADDRESS
)


@dataclass(frozen=True)
class ArmState:
    """One reading of the arm; arrays are (6,) in the order of `SO101.joint_names`.

    Attributes:
        loads: fraction of the largest motor voltage, -1 to 1.
    """

    positions_rad: np.ndarray
    velocities_rad_s: np.ndarray
    loads: np.ndarray


@dataclass(frozen=True)
class ServoDiagnostics:
    """What one servo says about itself."""

    voltage_v: float
    temperature_c: float
    current_a: float
    status_bits: int


def held_pose_rad(
    goals_rad: np.ndarray, positions_rad: np.ndarray, torque: np.ndarray
) -> np.ndarray:
    """(6,) pose from which a movement can start without a jerk.

    It is the servos' own goals, which differ from the measured pose by what gravity bends the arm
    and by how far the gripper squeezes, except for joints that are not held at their goal.

    Args:
        torque: (6,) bool, which servos have their torque on.
    """
    held = torque & (np.abs(goals_rad - positions_rad) <= HOLD_TOLERANCE_RAD)
    held[GRIPPER_JOINT] = torque[GRIPPER_JOINT]
    return np.where(held, goals_rad, positions_rad)


class SO101Arm:
    """The arm behind a bus. Methods raise `BusError` when the bus or a servo does not answer."""

    def __init__(self, bus: FeetechBus, calibration: Calibration) -> None:
        self.name = bus.port
        self._bus = bus
        self._calibration = calibration
        self._ids = calibration.ids
        self._turns = TurnCounter(len(self._ids))
        bus.names = dict(zip(self._ids, SO101.joint_names, strict=True))

    def prepare(self) -> None:
        """Check that the servos are those of the calibration, and configure them.

        Only registers that differ are written, so an arm that holds continues holding.

        Raises:
            RegisterMismatch: a servo is no STS3215 or was calibrated otherwise.
        """
        # Who has power again counts anew.
        self._turns = TurnCounter(len(self._ids))
        for servo, motor in zip(self._ids, self._calibration.motors.values(), strict=True):
            for register, expected, advice in (
                (registers.MODEL, registers.MODEL_NUMBER, "the SO-101 has STS3215 servos"),
                (registers.HOMING_OFFSET, motor.homing_offset, OTHER_ARM),
                (registers.MIN_POSITION, motor.range_min, OTHER_ARM),
                (registers.MAX_POSITION, motor.range_max, OTHER_ARM),
            ):
                value = self._read(servo, register)
                if value != expected:
                    raise RegisterMismatch(
                        f"{self._bus.describe([servo])}: {register.name} is {value}, expected "
                        f"{expected}; {self._swapped(servo) or advice}"
                    )
        for joint, servo in enumerate(self._ids):
            phase = self._read(servo, registers.PHASE) & ~PHASE_MULTI_TURN
            extra = GRIPPER_CONFIGURATION if joint == GRIPPER_JOINT else ()
            self._configure(servo, ((registers.PHASE, phase), *CONFIGURATION, *extra))

    def restore_calibration(self) -> None:
        """Write the calibration into the servos; their torque must be off."""
        for servo, motor in zip(self._ids, self._calibration.motors.values(), strict=True):
            self._configure(
                servo,
                (
                    (registers.HOMING_OFFSET, motor.homing_offset),
                    (registers.MIN_POSITION, motor.range_min),
                    (registers.MAX_POSITION, motor.range_max),
                ),
            )

    def read(self) -> ArmState:
        """Read positions, velocities and loads in one request.

        A joint whose servo's count began again keeps its angle, beyond its limits; the servo is
        made to hold there, because it would run to its goal all the way round.
        """
        answers = self._bus.sync_read(self._ids, STATE_ADDRESS, STATE_BYTES)

        def column(register: Register) -> np.ndarray:
            start = register.address - STATE_ADDRESS
            return np.array([register.decode(answers[servo][start:]) for servo in self._ids])

        ticks = column(PRESENT_POSITION)
        before = self._turns.turns
        positions = self._turns.follow(ticks)
        if (self._turns.turns != before).any():
            for joint in np.flatnonzero(self.torque() & (self._turns.turns != before)):
                self._write(self._ids[joint], registers.GOAL_POSITION, int(ticks[joint]))
        return ArmState(
            self._calibration.to_radians(positions),
            self._calibration.to_radians_per_s(column(PRESENT_VELOCITY)),
            column(PRESENT_LOAD) * LOAD_PER_UNIT * self._calibration.signs(),
        )

    def write_goals_rad(self, goals_rad: np.ndarray) -> None:
        """Send (6,) goals to all servos at once, clamped to each joint's calibrated travel.

        Raises:
            ValueError: a goal is not finite.
        """
        ticks = self._calibration.to_ticks(goals_rad)
        self._bus.sync_write(
            registers.GOAL_POSITION, dict(zip(self._ids, map(int, ticks), strict=True))
        )

    def held_pose_rad(self, state: ArmState) -> np.ndarray:
        """(6,) pose from which a movement can start without a jerk."""
        torque = self.torque()
        goals = self._calibration.to_radians(self._sync_read(registers.GOAL_POSITION))
        return held_pose_rad(goals, state.positions_rad, torque)

    def torque(self) -> np.ndarray:
        """(6,) bool: which servos have their torque on."""
        return np.array(self._sync_read(registers.TORQUE_ENABLE)) == 1

    def check_torque(self) -> None:
        """Return if every servo has its torque on.

        Raises:
            TorqueLost: names those that have not.
        """
        limp = [servo for servo, on in zip(self._ids, self.torque(), strict=True) if not on]
        if limp:
            raise TorqueLost(self._bus.describe(limp))

    def set_torque(self, enabled: bool) -> None:
        """Switch the torque of all servos; those that are switched on hold where they are."""
        if enabled:
            limp = [
                servo for servo, is_on in zip(self._ids, self.torque(), strict=True) if not is_on
            ]
            if not limp:
                return
            # A servo keeps its old goal while limp, and would run there. Written one by one,
            # because a sync write is not acknowledged: lost, it would let the arm jump.
            positions = dict(zip(self._ids, self._sync_read(PRESENT_POSITION), strict=True))
            for servo in limp:
                self._write(servo, registers.GOAL_POSITION, positions[servo])
        for servo in self._ids:
            self._write(servo, registers.TORQUE_ENABLE, int(enabled))

    def read_diagnostics(self, joint: int) -> ServoDiagnostics:
        """Read voltage, temperature, current and status of one servo: slow, so one at a time."""
        servo = self._ids[joint]
        try:
            data = self._bus.read_bytes(servo, DIAGNOSTICS_ADDRESS, DIAGNOSTICS_BYTES)
        except ServoStatusError as error:
            data = error.data

        def value(register: Register) -> int:
            return register.decode(data[register.address - DIAGNOSTICS_ADDRESS :])

        return ServoDiagnostics(
            value(registers.PRESENT_VOLTAGE) * VOLT_PER_UNIT,
            float(value(registers.PRESENT_TEMPERATURE)),
            value(registers.PRESENT_CURRENT) * AMPERE_PER_UNIT,
            self._bus.status_bits[servo],
        )

    def serious_fault(self) -> str:
        """Faults for which the arm must hold, in words; "" when there is none.

        What servos last reported of themselves, and a count that began again.
        """
        turned = [self._ids[joint] for joint in np.flatnonzero(self._turns.turns)]
        if turned:
            return (
                f"{self._bus.describe(turned)} turned past the end of the count; switch the torque "
                "off, turn the joint back by hand, and switch the torque on"
            )
        gripper = self._ids[GRIPPER_JOINT]
        faults = []
        for servo, bits in sorted(self._bus.status_bits.items()):
            # A gripper that squeezes an object for seconds is meant to go into overload: it is
            # configured to hold on with less torque then.
            serious = bits & SERIOUS_BITS & ~(OVERLOAD if servo == gripper else 0)
            if serious:
                faults.append(f"{self._bus.describe([servo])} reports {describe_status(serious)}")
        if not faults:
            return ""
        return f"{', '.join(faults)}; free the arm, then switch the torque off and on"

    def supply_warning(self) -> tuple[int, ...]:
        """Joints (indices) whose servos last reported a supply voltage out of their range."""
        return tuple(
            joint
            for joint, servo in enumerate(self._ids)
            if self._bus.status_bits.get(servo, 0) & OUT_OF_VOLTAGE
        )

    @property
    def retried(self) -> int:
        """Requests that had to be sent again, because an answer was missing or damaged."""
        return self._bus.retried

    def close(self) -> None:
        """Release the port. The servos hold where they are."""
        self._bus.close()

    def _swapped(self, servo: int) -> str:
        """Whose calibration a servo has, in words; "" where nobody's."""
        found = tuple(
            self._read(servo, register)
            for register in (
                registers.HOMING_OFFSET,
                registers.MIN_POSITION,
                registers.MAX_POSITION,
            )
        )
        for name, motor in self._calibration.motors.items():
            own = (motor.homing_offset, motor.range_min, motor.range_max)
            if own == found and motor.id != servo:
                return (
                    f"it has the calibration of {name}, servo {motor.id}: their ids are swapped, "
                    "in the file or by `so101 set-id`; swap them back"
                )
        return ""

    def _configure(self, servo: int, wanted: Iterable[tuple[Register, int]]) -> None:
        differing = [
            (register, value) for register, value in wanted if self._read(servo, register) != value
        ]
        if not differing:
            return
        # Lock 0 keeps what is written to EEPROM at power-off.
        self._write(servo, registers.LOCK, 0)
        for register, value in differing:
            self._write(servo, register, value)
        self._write(servo, registers.LOCK, 1)

    def _sync_read(self, register: Register) -> list[int]:
        answers = self._bus.sync_read(self._ids, register.address, register.size)
        return [register.decode(answers[servo]) for servo in self._ids]

    # A servo with overload or heat still carries out requests; `read_diagnostics` shows the fault.
    def _read(self, servo: int, register: Register) -> int:
        try:
            return self._bus.read(servo, register)
        except ServoStatusError as error:
            return register.decode(error.data)

    def _write(self, servo: int, register: Register, value: int) -> None:
        try:
            self._bus.write(servo, register, value)
        except ServoStatusError:
            return
