"""What can go wrong on the servo bus; every message is one line for the person at the robot."""

from __future__ import annotations

from collections.abc import Sequence

from multismolvla.robot.protocol import describe_status


class BusError(Exception):
    """The servo bus or a servo on it does not carry out a request."""


class PortUnavailable(BusError):
    """The serial port cannot be opened: it does not exist, or may not be used."""


class PortBusy(BusError):
    """Another process uses the serial port."""


class RegisterMismatch(BusError):
    """A servo is not the one that the calibration describes."""


class BusLost(BusError):
    """The serial port vanished while in use: the adapter was unplugged."""


class TorqueLost(BusError):
    """A servo answers but is limp, although nobody switched it off."""

    def __init__(self, who: str) -> None:
        super().__init__(f"{who} went limp; check the supply, which may have failed for a moment")


class ServoTimeout(BusError):
    """One or more servos did not answer.

    Args:
        reported: faults that they reported before, in words; "" for none.

    Attributes:
        servos: their ids.
    """

    def __init__(self, servos: Sequence[int], who: str, port: str, reported: str = "") -> None:
        self.servos = tuple(servos)
        if reported:
            super().__init__(
                f"no answer from {who} on {port}; {reported}: support the arm, and switch its "
                "power off and on"
            )
            return
        it = "it" if len(servos) == 1 else "the first of them"
        super().__init__(f"no answer from {who} on {port}; check power and the cable to {it}")


class CorruptPacket(BusError):
    """Answers arrived damaged or incomplete, also after a retry.

    Attributes:
        servos: ids of the servos without a good answer.
    """

    def __init__(self, servos: Sequence[int], who: str, port: str) -> None:
        self.servos = tuple(servos)
        super().__init__(
            f"damaged answers from {who} on {port}; check the cable, and that no two servos "
            "share an id"
        )


class ServoStatusError(BusError):
    """A servo carried out a request and reports a fault of its own.

    Attributes:
        servo: its id.
        bits: the status byte.
        data: what it answered.
    """

    def __init__(self, servo: int, who: str, bits: int, data: bytes = b"") -> None:
        self.servo, self.bits, self.data = servo, bits, data
        super().__init__(f"{who} reports: {describe_status(bits)}")
