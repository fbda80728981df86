"""Manual calibration, as LeRobot does it: the middle pose first, then a sweep of every joint."""

from __future__ import annotations

import argparse
import select
import sys
import time

from rich.live import Live
from rich.table import Table

from multismolvla.embodiment.so101 import SO101
from multismolvla.robot import registers
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.calibration import (
    FULL_TURN,
    MAX_HOMING_OFFSET,
    Calibration,
    CalibrationError,
    MotorCalibration,
    check_travel,
)
from multismolvla.robot.registers import (
    MAX_POSITION,
    MIN_POSITION,
    PHASE_MULTI_TURN,
    TICKS_PER_TURN,
)

MIDDLE = TICKS_PER_TURN // 2 - 1

SWEEP_RATE_HZ = 30.0


def calibrate(options: argparse.Namespace) -> int:
    """Ask for the middle pose and the sweep; write the servos and the file."""
    if not sys.stdin.isatty():
        raise CalibrationError("calibration asks questions; run it in a terminal")
    with FeetechBus(options.port) as bus:
        session = CalibrationSession(bus)
        input("The arm will go limp: support it, then press Enter. ")
        session.begin()
        input("Move every joint to the middle of its travel, then press Enter. ")
        session.set_middle()
        print(f"Move every joint except {FULL_TURN} through its whole travel, then press Enter.")
        _sweep(session)
        calibration = session.finish()
    calibration.save(options.calibration)
    print(f"calibrated: {options.calibration}")
    return 0


class CalibrationSession:
    """The steps of a calibration, in the order of its methods; ids are 1 to 6."""

    def __init__(self, bus: FeetechBus) -> None:
        self._bus = bus
        self._ids = range(1, len(SO101) + 1)
        bus.names = dict(zip(self._ids, SO101.joint_names, strict=True))
        self._offsets: list[int] = []
        self.lowest: list[int] = []
        self.highest: list[int] = []
        self.present: list[int] = []

    def begin(self) -> None:
        """Let the arm go limp and forget the servos' earlier calibration."""
        for servo in self._ids:
            self._bus.write(servo, registers.TORQUE_ENABLE, 0)
            self._bus.write(servo, registers.LOCK, 0)
            # A servo that counts turns, or was last used as a wheel, reports other positions.
            phase = self._bus.read(servo, registers.PHASE) & ~PHASE_MULTI_TURN
            self._bus.write(servo, registers.PHASE, phase)
            self._bus.write(servo, registers.OPERATING_MODE, 0)
            self._bus.write(servo, registers.HOMING_OFFSET, 0)
            self._bus.write(servo, MIN_POSITION, 0)
            self._bus.write(servo, MAX_POSITION, TICKS_PER_TURN - 1)

    def set_middle(self) -> None:
        """Make the present pose the middle of the servos' range."""
        self._offsets = [
            max(-MAX_HOMING_OFFSET, min(MAX_HOMING_OFFSET, position - MIDDLE))
            for position in self._positions()
        ]
        for servo, offset in zip(self._ids, self._offsets, strict=True):
            self._bus.write(servo, registers.HOMING_OFFSET, offset)
        self.lowest = self._positions()
        self.highest = list(self.lowest)

    def sample(self) -> None:
        """Widen each joint's travel by where it is now."""
        self.present = self._positions()
        self.lowest = list(map(min, self.lowest, self.present))
        self.highest = list(map(max, self.highest, self.present))

    def finish(self) -> Calibration:
        """Write the travel into the servos and return the calibration.

        Raises:
            CalibrationError: a joint was hardly moved, or farther than it can turn.
        """
        motors = {}
        for name, servo, offset, low, high in zip(
            SO101.joint_names, self._ids, self._offsets, self.lowest, self.highest, strict=True
        ):
            if name == FULL_TURN:
                low, high = 0, TICKS_PER_TURN - 1
            try:
                check_travel(name, low, high)
            except ValueError as error:
                raise CalibrationError(str(error)) from None
            motors[name] = MotorCalibration(servo, 0, offset, low, high)
        for motor in motors.values():
            self._bus.write(motor.id, MIN_POSITION, motor.range_min)
            self._bus.write(motor.id, MAX_POSITION, motor.range_max)
            self._bus.write(motor.id, registers.LOCK, 1)
        return Calibration(motors)

    def _positions(self) -> list[int]:
        register = registers.PRESENT_POSITION
        answers = self._bus.sync_read(self._ids, register.address, register.size)
        return [register.decode(answers[servo]) for servo in self._ids]


def _sweep(session: CalibrationSession) -> None:
    """Sample until Enter, showing the travel so far."""
    session.sample()
    with Live(_table(session), auto_refresh=False, redirect_stderr=False) as live:
        while not _enter_pressed():
            session.sample()
            live.update(_table(session), refresh=True)
            time.sleep(1.0 / SWEEP_RATE_HZ)


def _enter_pressed() -> bool:
    if not select.select([sys.stdin], [], [], 0.0)[0]:
        return False
    sys.stdin.readline()
    return True


def _table(session: CalibrationSession) -> Table:
    table = Table("joint", "lowest", "now", "highest")
    for row in zip(
        SO101.joint_names, session.lowest, session.present, session.highest, strict=True
    ):
        table.add_row(*map(str, row))
    return table
