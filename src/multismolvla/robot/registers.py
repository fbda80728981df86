"""Registers of the Feetech STS3215 that the stack uses.

Addresses, sizes and sign bits as in Feetech's STS3215 memory table and in LeRobot 0.4.4
(lerobot/motors/feetech/tables.py, STS_SMS_SERIES_*). A register with a sign bit holds sign and
magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass

MODEL_NUMBER = 777

TICKS_PER_TURN = 4096

# Registers below this address are EEPROM: they survive power-off if written while Lock is 0.
SRAM_START = 40

# Bit of the register Phase; clear: positions stay within one turn.
PHASE_MULTI_TURN = 1 << 4

# Units of the present values, STS3215 memory table.
LOAD_PER_UNIT = 0.001  # fraction of the largest motor voltage
TORQUE_PER_UNIT = 0.001  # fraction of the stall torque
VOLT_PER_UNIT = 0.1
AMPERE_PER_UNIT = 0.0065


@dataclass(frozen=True)
class Register:
    """One register.

    Attributes:
        name: as in LeRobot, for messages.
        address, size: first byte and number of bytes.
        sign_bit: position of the sign in sign-and-magnitude, None where the value is unsigned.
    """

    name: str
    address: int
    size: int
    sign_bit: int | None = None

    def encode(self, value: int) -> bytes:
        """Return the register's bytes, low byte first.

        Raises:
            ValueError: the value does not fit the register.
        """
        bits = 8 * self.size if self.sign_bit is None else self.sign_bit
        least = 0 if self.sign_bit is None else -((1 << bits) - 1)
        if not least <= value < 1 << bits:
            raise ValueError(f"{self.name} is {value}; expected {least} to {(1 << bits) - 1}")
        raw = value if value >= 0 else -value | 1 << bits
        return raw.to_bytes(self.size, "little")

    def decode(self, data: bytes) -> int:
        """Return the value of the register's bytes."""
        raw = int.from_bytes(data[: self.size], "little")
        if self.sign_bit is None:
            return raw
        magnitude = raw & ((1 << self.sign_bit) - 1)
        return -magnitude if raw >> self.sign_bit & 1 else magnitude


MODEL = Register("Model_Number", 3, 2)
ID = Register("ID", 5, 1)
RETURN_DELAY = Register("Return_Delay_Time", 7, 1)
MIN_POSITION = Register("Min_Position_Limit", 9, 2)
MAX_POSITION = Register("Max_Position_Limit", 11, 2)
MAX_TEMPERATURE = Register("Max_Temperature_Limit", 13, 1)
MAX_VOLTAGE = Register("Max_Voltage_Limit", 14, 1)
MIN_VOLTAGE = Register("Min_Voltage_Limit", 15, 1)
MAX_TORQUE = Register("Max_Torque_Limit", 16, 2)
PHASE = Register("Phase", 18, 1)
P_COEFFICIENT = Register("P_Coefficient", 21, 1)
D_COEFFICIENT = Register("D_Coefficient", 22, 1)
I_COEFFICIENT = Register("I_Coefficient", 23, 1)
PROTECTION_CURRENT = Register("Protection_Current", 28, 2)
HOMING_OFFSET = Register("Homing_Offset", 31, 2, sign_bit=11)
OPERATING_MODE = Register("Operating_Mode", 33, 1)
OVERLOAD_TORQUE = Register("Overload_Torque", 36, 1)
TORQUE_ENABLE = Register("Torque_Enable", 40, 1)
ACCELERATION = Register("Acceleration", 41, 1)
GOAL_POSITION = Register("Goal_Position", 42, 2, sign_bit=15)
TORQUE_LIMIT = Register("Torque_Limit", 48, 2)
LOCK = Register("Lock", 55, 1)
PRESENT_POSITION = Register("Present_Position", 56, 2, sign_bit=15)
PRESENT_VELOCITY = Register("Present_Velocity", 58, 2, sign_bit=15)
PRESENT_LOAD = Register("Present_Load", 60, 2, sign_bit=10)
PRESENT_VOLTAGE = Register("Present_Voltage", 62, 1)
PRESENT_TEMPERATURE = Register("Present_Temperature", 63, 1)
STATUS = Register("Status", 65, 1)
MOVING = Register("Moving", 66, 1)
PRESENT_CURRENT = Register("Present_Current", 69, 2, sign_bit=15)
MAXIMUM_ACCELERATION = Register("Maximum_Acceleration", 85, 1)
