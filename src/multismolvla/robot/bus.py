"""The Feetech servo bus on a serial port: requests, answers, bounded retries."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios
import time
from collections.abc import Mapping, Sequence

import serial

from multismolvla.robot import protocol
from multismolvla.robot.echo import EchoFilter
from multismolvla.robot.errors import (
    BusLost,
    CorruptPacket,
    PortBusy,
    PortUnavailable,
    ServoStatusError,
    ServoTimeout,
)
from multismolvla.robot.protocol import SERIOUS_BITS, Packet, PacketParser, describe_status
from multismolvla.robot.registers import ID, LOCK, Register

BAUDRATE = 1_000_000

# A servo answers within a millisecond; the rest is for the adapter and for a busy computer.
TIMEOUT_S = 0.05
SCAN_TIMEOUT_S = 0.01


class FeetechBus:
    """The only user of one serial port with servos on it. Not for use from two threads at a time.

    Args:
        port: path of the serial port.
        timeout_s: time that servos have for all answers to one request.
        retries: how often a request without a good answer is sent again.

    Raises:
        PortUnavailable, PortBusy: the port cannot be opened.
    """

    def __init__(
        self,
        port: str,
        baudrate: int = BAUDRATE,
        timeout_s: float = TIMEOUT_S,
        retries: int = 2,
    ) -> None:
        self.port = port
        self._timeout_s = timeout_s
        self._retries = retries
        # Status byte of the last answer, per servo id.
        self.status_bits: dict[int, int] = {}
        # Joint per servo id, for messages.
        self.names: dict[int, str] = {}
        # Requests that had to be sent again.
        self.retried = 0
        # Requests whose echo may still come: the last, and one before it that nobody answers.
        self._unheard: list[bytes] = []
        self._serial = _open(port, baudrate)

    def close(self) -> None:
        """Release the port. Servos keep their goals and their torque."""
        self._serial.close()

    def __enter__(self) -> FeetechBus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, servo: int, register: Register) -> int:
        """Return the value of a register.

        Raises:
            ServoTimeout, CorruptPacket, BusLost: no good answer.
            ServoStatusError: it is there and reports a fault other than its supply voltage's,
                which is only kept in `status_bits`.
        """
        return register.decode(self.read_bytes(servo, register.address, register.size))

    def read_bytes(self, servo: int, address: int, size: int) -> bytes:
        """Return `size` bytes from `address` on. Raises as `read`."""
        return self._ask_one(protocol.read_request(servo, address, size), size)

    def write(self, servo: int, register: Register, value: int) -> None:
        """Write a register and wait for the acknowledgement. Raises as `read`."""
        self._ask_one(protocol.write_request(servo, register.address, register.encode(value)), 0)

    def sync_read(self, servos: Sequence[int], address: int, size: int) -> dict[int, bytes]:
        """Read the same bytes of several servos in one request.

        Faults that servos report along with their data are only kept in `status_bits`: the data
        is good.

        Returns:
            id -> `size` bytes, for every id of `servos`.

        Raises:
            ServoTimeout, CorruptPacket: names the servos without a good answer.
            BusLost: the port vanished.
        """
        answers: dict[int, bytes] = {}
        missing = list(servos)
        discarded = 0
        for attempt in range(1 + self._retries):
            self.retried += attempt > 0
            self._send(protocol.sync_read_request(missing, address, size))
            discarded = self._receive(missing, size, answers)
            missing = [servo for servo in servos if servo not in answers]
            if not missing:
                return answers
        if discarded:
            raise CorruptPacket(missing, self.describe(missing), self.port)
        raise self._silent(missing)

    def sync_write(self, register: Register, values: Mapping[int, int]) -> None:
        """Write a register of several servos (id -> value) at once; servos do not acknowledge it.

        Raises:
            BusLost: the port vanished.
        """
        data = {servo: register.encode(value) for servo, value in values.items()}
        self._send(protocol.sync_write_request(register.address, data))

    def scan(self, servos: Sequence[int], timeout_s: float = SCAN_TIMEOUT_S) -> list[int]:
        """Return those of the ids that answer in time, each asked once.

        Asked for their id, not pinged: where an adapter echoes, a ping looks like its answer.
        """
        found = []
        for servo in servos:
            answers: dict[int, bytes] = {}
            self._send(protocol.read_request(servo, ID.address, ID.size))
            self._receive([servo], ID.size, answers, timeout_s)
            found += answers
        return found

    def set_id(self, servo: int, new: int) -> None:
        """Give a servo another id, kept at power-off. Raises as `read`."""
        self.write(servo, LOCK, 0)
        # Whether the acknowledgement carries the old or the new id differs between firmwares.
        with contextlib.suppress(ServoTimeout):
            self.write(servo, ID, new)
        self.write(new, LOCK, 1)

    def describe(self, servos: Sequence[int]) -> str:
        """The servos in words: `servo 3 (elbow_flex)`."""
        names = [
            f"{servo} ({self.names[servo]})" if servo in self.names else str(servo)
            for servo in servos
        ]
        return f"servo{'s' if len(names) > 1 else ''} {', '.join(names)}"

    def _ask_one(self, request: Packet, size: int) -> bytes:
        answers: dict[int, bytes] = {}
        discarded = 0
        for attempt in range(1 + self._retries):
            self.retried += attempt > 0
            self._send(request)
            discarded = self._receive([request.id], size, answers)
            if answers:
                break
        else:
            if discarded:
                raise CorruptPacket([request.id], self.describe([request.id]), self.port)
            raise self._silent([request.id])
        if self.status_bits[request.id] & SERIOUS_BITS:
            raise ServoStatusError(
                request.id,
                self.describe([request.id]),
                self.status_bits[request.id],
                answers[request.id],
            )
        return answers[request.id]

    def _silent(self, servos: Sequence[int]) -> ServoTimeout:
        """No answer from these, with what they said before they fell silent."""
        said = [
            f"{self.describe([servo])} last reported {describe_status(bits)}"
            for servo in servos
            if (bits := self.status_bits.get(servo, 0) & SERIOUS_BITS)
        ]
        return ServoTimeout(servos, self.describe(servos), self.port, ", ".join(said))

    def _send(self, request: Packet) -> None:
        try:
            # Half duplex: whatever is still there belongs to an earlier request.
            self._serial.reset_input_buffer()
            sent = protocol.encode(request)
            self._unheard = [*self._unheard[-1:], sent]
            self._serial.write(sent)
        except (OSError, termios.error) as error:
            raise self._lost(error) from None

    def _receive(
        self,
        servos: Sequence[int],
        size: int,
        answers: dict[int, bytes],
        timeout_s: float | None = None,
    ) -> int:
        """Collect the servos' answers of `size` bytes; return how many bytes were thrown away."""
        parser = PacketParser(size)
        echo = EchoFilter(self._unheard)
        self._unheard = []
        waiting = set(servos)
        deadline = time.monotonic() + (timeout_s or self._timeout_s)
        over = False
        while waiting and not over:
            left_s = deadline - time.monotonic()
            # Late on a busy computer: take what has arrived meanwhile.
            over = left_s <= 0
            for packet in parser.feed(echo.feed(self._read_available(max(0.0, left_s)))):
                if packet.id in waiting:
                    waiting.remove(packet.id)
                    answers[packet.id] = packet.parameters
                    self.status_bits[packet.id] = packet.code
        return parser.discarded + parser.pending + echo.pending

    def _read_available(self, timeout_s: float) -> bytes:
        try:
            descriptor = self._serial.fileno()
            if not select.select([descriptor], [], [], timeout_s)[0]:
                return b""
            data = os.read(descriptor, 4096)
        except (OSError, ValueError) as error:
            raise self._lost(error) from None
        if not data:
            raise self._lost("end of file")
        return data

    def _lost(self, cause: object) -> BusLost:
        why = cause.args[-1] if isinstance(cause, Exception) else cause
        return BusLost(f"serial port {self.port} is gone ({why}); plug the arm's adapter in again")


def _open(port: str, baudrate: int) -> serial.Serial:
    try:
        opened = serial.Serial(port, baudrate, timeout=0, write_timeout=0.5)
    except (OSError, serial.SerialException, ValueError, termios.error) as error:
        code = getattr(error, "errno", None)
        raise _open_error(port, code, error) from None
    try:
        # Released by the kernel when the process ends, however it ends.
        fcntl.flock(opened.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.realpath(port).startswith("/dev/pts/"):
            # Keeps out programs that do not lock. On a pseudo-terminal the mark would outlive a
            # killed process, because the other end stays open.
            fcntl.ioctl(opened.fileno(), termios.TIOCEXCL)
    except OSError:
        opened.close()
        raise _busy(port) from None
    return opened


def _open_error(port: str, code: int | None, error: Exception) -> Exception:
    if code == errno.EBUSY:
        return _busy(port)
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EIO):
        return PortUnavailable(
            f"serial port {port} does not exist; is the arm plugged in, and is this its port?"
        )
    if code in (errno.EACCES, errno.EPERM):
        return PortUnavailable(
            f"no permission for serial port {port}; add this user to the group that owns it "
            "(often `sudo usermod -aG dialout $USER`, then log in again)"
        )
    return PortUnavailable(f"cannot open serial port {port}: {error}")


def _busy(port: str) -> PortBusy:
    holder = _find_holder(port)
    return PortBusy(
        f"serial port {port} is used by {holder or 'another process'}; "
        "only one program can drive the arm: end the other one"
    )


def _find_holder(port: str) -> str:
    """Name the process that holds the lock on the port, as far as the kernel reports it."""
    with contextlib.suppress(OSError):
        inode = str(os.stat(port).st_ino)
        with open("/proc/locks") as locks:
            # Fields: number, class, kind, access, process, major:minor:inode, start, end.
            for fields in map(str.split, locks):
                if fields[1] == "FLOCK" and fields[5].split(":")[2] == inode:
                    with open(f"/proc/{fields[4]}/comm") as name:
                        return f"process {fields[4]} ({name.read().strip()})"
    return ""
