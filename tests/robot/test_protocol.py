"""Packets as bytes, and the parser that finds them again after garbage."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.robot import protocol
from multismolvla.robot.protocol import Instruction, Packet, PacketParser, encode
from multismolvla.robot.registers import GOAL_POSITION, HOMING_OFFSET, Register

packets = st.builds(
    Packet, st.integers(0, 0xFE), st.integers(0, 0xFF), st.binary(max_size=protocol.MAX_PARAMETERS)
)


def test_the_manual_s_examples():
    # Feetech protocol manual: ping of servo 1, and a read of two bytes at 0x38.
    assert encode(Packet(1, Instruction.PING)).hex() == "ffff010201fb"
    assert encode(protocol.read_request(1, 0x38, 2)).hex() == "ffff0104023802be"


def test_a_sync_write_lists_id_and_data_of_each_servo():
    request = protocol.sync_write_request(42, {1: b"\x00\x08", 2: b"\x10\x04"})
    assert encode(request)[2:-1].hex() == "fe0a832a02010008021004"


@settings(max_examples=100)
@given(st.lists(packets, max_size=6), st.integers(1, 40))
def test_what_is_encoded_is_parsed_however_the_bytes_are_cut(sent, size):
    data = b"".join(map(encode, sent))
    parser = PacketParser()
    received = []
    for start in range(0, len(data), size):
        received += parser.feed(data[start : start + size])
    assert received == sent
    assert parser.discarded == parser.pending == 0


@settings(max_examples=200)
@given(st.binary(max_size=40), st.integers(0, 6), st.integers(0, 0xFD), st.binary(max_size=6))
def test_finds_a_packet_of_the_right_size_after_garbage(garbage, size, servo, rest):
    packet = Packet(servo, 0, (rest + bytes(6))[:size])
    parser = PacketParser(size)
    # The garbage may look like the beginning of a packet of this size; then the parser can only
    # know after that many bytes.
    received = parser.feed(garbage + encode(packet) + bytes(6 + size))
    assert packet in received


@settings(max_examples=100)
@given(packets, st.data())
def test_a_damaged_byte_never_gives_another_packet_of_its_servo(packet, data):
    raw = bytearray(encode(packet))
    position = data.draw(st.integers(2, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    parser = PacketParser(len(packet.parameters))
    assert packet not in parser.feed(bytes(raw))


def test_a_half_packet_waits_and_a_new_one_after_it_is_found():
    packet = Packet(3, 0, b"\x01\x02")
    parser = PacketParser(2)
    assert parser.feed(encode(packet)[:5]) == []
    assert parser.pending == 5
    assert parser.feed(encode(packet)) == [packet]
    assert parser.discarded == 5


@given(st.integers(-2047, 2047))
def test_sign_and_magnitude_round_trip(value):
    assert HOMING_OFFSET.decode(HOMING_OFFSET.encode(value)) == value


def test_sign_bits():
    assert HOMING_OFFSET.encode(-1).hex() == "0108"
    assert GOAL_POSITION.encode(-1).hex() == "0180"


@pytest.mark.parametrize(
    ("register", "value"), [(HOMING_OFFSET, 2048), (Register("Lock", 55, 1), -1)]
)
def test_values_that_do_not_fit_are_refused(register, value):
    with pytest.raises(ValueError, match=register.name):
        register.encode(value)


def test_packets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="id is 255"):
        encode(Packet(255, 1))
    with pytest.raises(ValueError, match="254 parameters"):
        encode(Packet(1, 1, bytes(254)))
    with pytest.raises(ValueError, match="expected one size"):
        protocol.sync_write_request(42, {1: b"\x00", 2: b"\x00\x01"})


def test_status_in_words():
    assert protocol.describe_status(0b100100) == "overheated, overload"
    assert protocol.describe_status(0) == ""
