"""Six emulated STS3215 servos: request packets in, answer packets out. No thread, no port.

The servos' registers are emulated, their mechanics are not: those are a plant, in radians.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from multismolvla.embodiment.so101 import SO101
from multismolvla.robot import registers
from multismolvla.robot.calibration import (
    GRIPPER,
    RAD_PER_TICK,
    Calibration,
    MotorCalibration,
)
from multismolvla.robot.protocol import BROADCAST_ID, MAX_PARAMETERS, Instruction, Packet
from multismolvla.robot.registers import SRAM_START, TICKS_PER_TURN, Register

MEMORY_BYTES = 128
JOINTS = len(SO101)


class Plant(Protocol):
    """What the servos turn: six joints in the order of `SO101.joint_names`, radians.

    Called from the thread that serves the bus. Arrays are (6,) float.
    """

    def positions_rad(self) -> np.ndarray: ...
    def velocities_rad_s(self) -> np.ndarray: ...
    def loads(self) -> np.ndarray:
        """Fraction of the largest motor voltage, -1 to 1."""
        ...

    def temperatures_c(self) -> np.ndarray: ...
    def voltages_v(self) -> np.ndarray: ...
    def currents_a(self) -> np.ndarray: ...
    def goals_rad(self) -> np.ndarray: ...
    def set_goal_rad(self, joint: int, goal: float) -> None: ...
    def set_torque(self, joint: int, enabled: bool) -> None: ...
    def set_torque_limit(self, joint: int, fraction: float) -> None: ...


def simulated_calibration() -> Calibration:
    """How the simulated arm's servos are mounted; `config/so101_sim_calibration.json` holds it.

    Homing offsets differ from zero, as on any real arm, so that a mistake in their sign shows.
    """
    offsets = (-118, 1043, -987, 402, -31, 1290)
    motors = {}
    for index, (name, offset) in enumerate(zip(SO101.joint_names, offsets, strict=True)):
        # Limits that are symmetric about a tick; the travel goes a little beyond them.
        reach = 2047
        if name != "wrist_roll":
            reach = int(SO101.upper_rad[index] / RAD_PER_TICK) + 1
        low, high = 2048 - reach, 2048 + reach
        if name == GRIPPER:
            low = 2020
            high = low + int((SO101.upper_rad[index] - SO101.lower_rad[index]) / RAD_PER_TICK) + 1
        motors[name] = MotorCalibration(index + 1, 0, offset, low, high)
    return Calibration(motors)


class EmulatedServos:
    """The servos of one arm.

    Args:
        plant: the mechanics.
        mounting: how ticks and radians belong together, and what the servos' EEPROM holds.
        ids: ids on the bus; those of `mounting` when None.
    """

    def __init__(
        self, plant: Plant, mounting: Calibration | None = None, ids: Iterable[int] | None = None
    ) -> None:
        self._plant = plant
        self._mounting = mounting or simulated_calibration()
        self._offsets = [motor.homing_offset for motor in self._mounting.motors.values()]
        self._eeprom = [
            _factory_memory(motor, servo)
            for motor, servo in zip(
                self._mounting.motors.values(), ids or self._mounting.ids, strict=True
            )
        ]
        self._memory = [bytearray(eeprom) for eeprom in self._eeprom]
        # Registers of present values -> six values for them.
        self._present: dict[Register, Callable[[], Iterable[float]]] = {
            registers.PRESENT_POSITION: self._positions,
            registers.GOAL_POSITION: lambda: self._reported_ticks(plant.goals_rad()),
            registers.PRESENT_VELOCITY: self._speeds,
            registers.PRESENT_LOAD: self._loads,
            registers.PRESENT_VOLTAGE: lambda: _units(plant.voltages_v(), registers.VOLT_PER_UNIT),
            registers.PRESENT_TEMPERATURE: lambda: _units(plant.temperatures_c(), 1.0),
            registers.PRESENT_CURRENT: lambda: np.rint(
                np.abs(plant.currents_a()) / registers.AMPERE_PER_UNIT
            ),
            # Feetech's threshold for a servo that moves is not documented; chosen.
            registers.MOVING: lambda: np.abs(self._speeds()) > 2,
            registers.STATUS: self._faults,
        }
        # Status bits that a test sets, per joint: for good, and until the torque is switched off.
        self.injected_status = [0] * JOINTS
        self.latched_status = [0] * JOINTS
        # Firmwares differ: positions beyond the turn's ends go on, with a sign, or begin again.
        self.signed_positions = False
        # Whole turns that the count has left out.
        self._turns = np.zeros(JOINTS, dtype=int)
        # Joints whose servo gives no sign of life.
        self.silent: set[int] = set()
        for joint in range(JOINTS):
            self.power_cycle(joint)

    def power_cycle(self, joint: int) -> None:
        """Switch a servo off and on: torque off, and every register as the EEPROM has it."""
        memory = self._memory[joint]
        memory[:] = self._eeprom[joint]
        self.latched_status[joint] = 0
        self._store(joint, registers.LOCK, 1)
        self._store(joint, registers.TORQUE_LIMIT, self._load(joint, registers.MAX_TORQUE))
        self._plant.set_torque(joint, False)
        self._plant.set_torque_limit(joint, self._torque_limit(joint, registers.MAX_TORQUE))

    def swap_ids(self, joint: int, other: int) -> None:
        """Give two servos each other's id, as if a person had set them up in the wrong order."""
        for place in (self._memory, self._eeprom):
            address = registers.ID.address
            mine, theirs = place[joint], place[other]
            mine[address], theirs[address] = theirs[address], mine[address]

    def hold(self) -> None:
        """Switch the torque of every servo on."""
        for joint in range(JOINTS):
            self._store(joint, registers.TORQUE_ENABLE, 1)
            self._plant.set_torque(joint, True)

    def register(self, joint: int, register: Register) -> int:
        """Value that the servo of a joint would answer."""
        self._refresh()
        return self._load(joint, register)

    def answer(self, request: Packet) -> list[Packet]:
        """Execute a request; return the answers in the order in which the servos send them."""
        parameters = request.parameters
        if request.code == Instruction.SYNC_READ and len(parameters) > 2:
            if parameters[1] > MAX_PARAMETERS:
                return []
            self._refresh(*parameters[:2])
            # Every answer carries the status, which they decide.
            self._refresh(registers.PRESENT_VOLTAGE.address, 2)
            return [
                Packet(servo, self._status(joint), self._bytes(joint, *parameters[:2]))
                for servo in parameters[2:]
                for joint in self._addressed(servo)
            ]
        if request.code == Instruction.SYNC_WRITE and len(parameters) > 2:
            address, size = parameters[:2]
            for start in range(2, len(parameters) - size, 1 + size):
                for joint in self._addressed(parameters[start]):
                    self._write(joint, address, parameters[start + 1 : start + 1 + size])
            return []
        if request.code not in (Instruction.PING, Instruction.READ, Instruction.WRITE):
            return []
        if request.code == Instruction.READ and parameters[1:2] > bytes([MAX_PARAMETERS]):
            # No packet can hold the answer.
            return []
        self._refresh()
        answers = []
        for joint in self._addressed(request.id):
            servo = self._load(joint, registers.ID)
            data = b""
            if request.code == Instruction.READ and len(parameters) == 2:
                data = self._bytes(joint, *parameters)
            elif request.code == Instruction.WRITE and len(parameters) > 1:
                self._write(joint, parameters[0], parameters[1:])
            if request.id != BROADCAST_ID or request.code == Instruction.PING:
                answers.append(Packet(servo, self._status(joint), data))
        return answers

    def _addressed(self, servo: int) -> list[int]:
        address = registers.ID.address
        return [
            joint
            for joint in range(JOINTS)
            if joint not in self.silent and servo in (BROADCAST_ID, self._memory[joint][address])
        ]

    def _load(self, joint: int, register: Register) -> int:
        return register.decode(self._bytes(joint, register.address, register.size))

    def _store(self, joint: int, register: Register, value: int) -> None:
        _store(self._memory[joint], register, value)

    def _bytes(self, joint: int, address: int, size: int) -> bytes:
        data = bytes(self._memory[joint][address : address + size])
        return data + bytes(size - len(data))

    def _status(self, joint: int) -> int:
        bits = self._faults()[joint]
        voltage = self._load(joint, registers.PRESENT_VOLTAGE)
        low = self._load(joint, registers.MIN_VOLTAGE)
        high = self._load(joint, registers.MAX_VOLTAGE)
        bits |= 1 if not low <= voltage <= high else 0
        hot = self._load(joint, registers.PRESENT_TEMPERATURE) > self._load(
            joint, registers.MAX_TEMPERATURE
        )
        return bits | (4 if hot else 0)

    def _faults(self) -> list[int]:
        rows = zip(self.injected_status, self.latched_status, strict=True)
        return [lasting | latched for lasting, latched in rows]

    def _refresh(self, address: int = 0, size: int = MEMORY_BYTES) -> None:
        """Bring registers of present values up to date with the plant, those within the range."""
        for register, read in self._present.items():
            if address <= register.address < address + size:
                for joint, value in enumerate(read()):
                    self._store(joint, register, int(value))

    def _positions(self) -> np.ndarray:
        """Present positions; a servo whose count begins again runs after its goal's number."""
        radians = self._plant.positions_rad()
        turns = self._ticks(radians) // TICKS_PER_TURN * (not self.signed_positions)
        turned = np.flatnonzero(turns != self._turns)
        self._turns = turns
        for joint in turned:
            self._set_goal(joint)
        return self._reported_ticks(radians)

    def _reported_ticks(self, radians: np.ndarray) -> np.ndarray:
        """Ticks that the servos report for joint positions."""
        ticks = self._ticks(radians)
        return ticks if self.signed_positions else ticks % TICKS_PER_TURN

    def _ticks(self, radians: np.ndarray) -> np.ndarray:
        """Ticks of joint positions, as the offset registers say, also beyond one turn."""
        registered = [self._load(joint, registers.HOMING_OFFSET) for joint in range(JOINTS)]
        return self._mounting.unclipped_ticks(radians) + self._offsets - registered

    def _speeds(self) -> np.ndarray:
        return np.rint(self._plant.velocities_rad_s() * self._mounting.signs() / RAD_PER_TICK)

    def _loads(self) -> np.ndarray:
        loads = np.clip(self._plant.loads(), -1.0, 1.0) * self._mounting.signs()
        return np.rint(loads / registers.LOAD_PER_UNIT)

    def _write(self, joint: int, address: int, data: bytes) -> None:
        memory = self._memory[joint]
        was_locked = self._load(joint, registers.LOCK)
        memory[address : address + len(data)] = data
        del memory[MEMORY_BYTES:]
        if address < SRAM_START and not was_locked:
            saved = data[: SRAM_START - address]
            self._eeprom[joint][address : address + len(saved)] = saved

        def touched(register: Register) -> bool:
            return address <= register.address < address + len(data)

        if touched(registers.GOAL_POSITION) and self._load(joint, registers.OPERATING_MODE) == 0:
            self._set_goal(joint)
        if touched(registers.TORQUE_ENABLE):
            on = self._load(joint, registers.TORQUE_ENABLE) == 1
            self._plant.set_torque(joint, on)
            if not on:
                self.latched_status[joint] = 0
        if touched(registers.TORQUE_LIMIT):
            self._plant.set_torque_limit(joint, self._torque_limit(joint, registers.TORQUE_LIMIT))

    def _torque_limit(self, joint: int, register: Register) -> float:
        """Fraction of the stall torque; a register may hold more than its 100 %."""
        return min(self._load(joint, register) * registers.TORQUE_PER_UNIT, 1.0)

    def _set_goal(self, joint: int) -> None:
        low = self._load(joint, registers.MIN_POSITION)
        high = self._load(joint, registers.MAX_POSITION)
        goal = self._load(joint, registers.GOAL_POSITION)
        if low < high:
            goal = min(max(goal, low), high)
        ticks = np.zeros(JOINTS)
        goal += self._turns[joint] * TICKS_PER_TURN
        ticks[joint] = goal + self._load(joint, registers.HOMING_OFFSET) - self._offsets[joint]
        self._plant.set_goal_rad(joint, float(self._mounting.to_radians(ticks)[joint]))


def _units(values: np.ndarray, unit: float) -> np.ndarray:
    """Values in a one-byte register's units."""
    return np.clip(np.rint(values / unit), 0, 255)


def _store(memory: bytearray, register: Register, value: int) -> None:
    memory[register.address : register.address + register.size] = register.encode(value)


def _factory_memory(motor: MotorCalibration, servo: int) -> bytearray:
    """EEPROM of a calibrated servo, otherwise as Feetech delivers it (STS3215 memory table)."""
    memory = bytearray(MEMORY_BYTES)
    for register, value in (
        (registers.MODEL, registers.MODEL_NUMBER),
        (registers.ID, servo),
        (registers.RETURN_DELAY, 250),
        (registers.MIN_POSITION, motor.range_min),
        (registers.MAX_POSITION, motor.range_max),
        (registers.MAX_TEMPERATURE, 70),
        (registers.MAX_VOLTAGE, 140),
        (registers.MIN_VOLTAGE, 40),
        (registers.MAX_TORQUE, 1000),
        (registers.PHASE, 12),
        (registers.P_COEFFICIENT, 32),
        (registers.D_COEFFICIENT, 32),
        (registers.PROTECTION_CURRENT, 500),
        (registers.HOMING_OFFSET, motor.homing_offset),
        (registers.OVERLOAD_TORQUE, 80),
        (registers.MAXIMUM_ACCELERATION, 254),
    ):
        _store(memory, register, value)
    return memory
