"""Feetech protocol 0 (the one of the STS and SMS series): packets as bytes, and a parser for them.

A packet is `FF FF id length code parameters... checksum`. length counts code, parameters and
checksum; the checksum is the inverted low byte of the sum from id to the last parameter. `code` is
the instruction in a request and the servo's status bits in an answer. Numbers are little-endian.
Source: Feetech, "Magnetic Coding Intelligent Servo Protocol Manual", and the servos' SDK
(FTServo_Python, scservo_def.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

HEADER = b"\xff\xff"
BROADCAST_ID = 0xFE
MAX_ID = 0xFD

# length is one byte and counts two bytes more than there are parameters.
MAX_PARAMETERS = 0xFF - 2


class Instruction(IntEnum):
    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83


# Bits of the status byte of an answer; the register Status holds the same ones.
STATUS_BITS: Mapping[int, str] = {
    0: "supply voltage out of range",
    1: "position sensor fault",
    2: "overheated",
    3: "overcurrent",
    5: "overload",
}
OVERLOAD = 1 << 5
# Every bit but the supply voltage's: the servo protects itself and does not hold its goal. The
# voltage's is set for ever where servos made for 7.4 V run on 12 V, and costs nothing.
OUT_OF_VOLTAGE = 1 << 0
SERIOUS_BITS = 0xFF & ~OUT_OF_VOLTAGE


@dataclass(frozen=True)
class Packet:
    """One packet: a request (`code` is the instruction) or an answer (`code` holds status bits)."""

    id: int
    code: int
    parameters: bytes = b""


def encode(packet: Packet) -> bytes:
    """Return the packet as it goes over the wire.

    Raises:
        ValueError: the id, the code or the number of parameters does not fit.
    """
    if not 0 <= packet.id <= BROADCAST_ID:
        raise ValueError(f"servo id is {packet.id}; expected 0 to {MAX_ID}, or {BROADCAST_ID}")
    if not 0 <= packet.code <= 0xFF:
        raise ValueError(f"packet code is {packet.code}; expected one byte")
    if len(packet.parameters) > MAX_PARAMETERS:
        raise ValueError(
            f"packet has {len(packet.parameters)} parameters; expected at most {MAX_PARAMETERS}"
        )
    body = bytes([packet.id, len(packet.parameters) + 2, packet.code]) + packet.parameters
    return HEADER + body + bytes([checksum(body)])


def checksum(body: bytes) -> int:
    """Checksum over the bytes from the id to the last parameter."""
    return ~sum(body) & 0xFF


def read_request(servo: int, address: int, size: int) -> Packet:
    """Ask a servo for `size` bytes from `address` on."""
    return Packet(servo, Instruction.READ, bytes([address, size]))


def write_request(servo: int, address: int, data: bytes) -> Packet:
    """Write bytes from `address` on; the servo acknowledges it."""
    return Packet(servo, Instruction.WRITE, bytes([address]) + data)


def sync_read_request(servos: Sequence[int], address: int, size: int) -> Packet:
    """Ask several servos for the same registers; each answers in the order of `servos`."""
    return Packet(BROADCAST_ID, Instruction.SYNC_READ, bytes([address, size, *servos]))


def sync_write_request(address: int, data: Mapping[int, bytes]) -> Packet:
    """Write the same registers of several servos (id -> data, all of one size); none answers."""
    sizes = {len(values) for values in data.values()}
    if len(sizes) != 1:
        raise ValueError(f"sync write has data of sizes {sorted(sizes)}; expected one size")
    rows = b"".join(bytes([servo]) + values for servo, values in data.items())
    return Packet(BROADCAST_ID, Instruction.SYNC_WRITE, bytes([address, sizes.pop()]) + rows)


def describe_status(bits: int) -> str:
    """Status bits in words; empty when no bit is set."""
    return ", ".join(
        STATUS_BITS.get(bit, f"unknown status bit {bit}") for bit in range(8) if bits & (1 << bit)
    )


class PacketParser:
    """Finds packets in a stream of bytes, also after garbage, half and damaged packets.

    Args:
        parameters: number of parameters that every packet must have; None accepts any. A caller
            that knows it does not wait for the rest of a packet whose length was damaged.
    """

    def __init__(self, parameters: int | None = None) -> None:
        self._parameters = parameters
        self._pending = bytearray()
        # Bytes that were not part of a good packet.
        self.discarded = 0

    @property
    def pending(self) -> int:
        """Bytes that may be the beginning of a packet."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[Packet]:
        """Take bytes, return the packets they complete, in order."""
        self._pending += data
        packets = []
        while True:
            start = self._find_header()
            self.discarded += start
            del self._pending[:start]
            if len(self._pending) < 4:
                return packets
            end = 4 + self._pending[3]
            if len(self._pending) < end:
                return packets
            body = bytes(self._pending[2 : end - 1])
            if checksum(body) == self._pending[end - 1]:
                packets.append(Packet(body[0], body[2], body[3:]))
                del self._pending[:end]
            else:
                # The damaged packet may have swallowed the header of a good one: look again from
                # the next byte on.
                self.discarded += 1
                del self._pending[:1]

    def _find_header(self) -> int:
        """Offset of the first place where a packet can begin, with as many bytes as are known."""
        pending = self._pending
        start = 0
        while True:
            start = pending.find(0xFF, start)
            if start < 0:
                return len(pending)
            head = pending[start : start + 4]
            if (
                head[1:2] in (b"", b"\xff")
                and (len(head) < 3 or head[2] <= BROADCAST_ID)
                and (len(head) < 4 or self._is_length(head[3]))
            ):
                return start
            start += 1

    def _is_length(self, length: int) -> bool:
        if self._parameters is None:
            return length >= 2
        return length == self._parameters + 2
