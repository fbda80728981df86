"""TensorBoard's files, read back by another implementation of their format."""

import struct

from multismolvla.training.policy.event_file import EventFile, masked_crc32c


def records(path):
    content = path.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        assert struct.unpack("<I", content[8:12])[0] == masked_crc32c(content[:8])
        data, content = content[12 : 12 + length], content[12 + length :]
        assert struct.unpack("<I", content[:4])[0] == masked_crc32c(data)
        content = content[4:]
        yield data


def test_the_checksum_is_crc32c():
    # RFC 3720, B.4: 32 bytes of zero have the CRC-32C 0x8A9136AA.
    crc = 0x8A9136AA
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    assert masked_crc32c(bytes(32)) == (rotated + 0xA282EAD8) & 0xFFFFFFFF


def test_scalars_are_written_as_protobuf(tmp_path):
    file = EventFile(tmp_path)
    file.add(300, {"loss/flow": 0.5})
    file.close()
    (path,) = tmp_path.iterdir()
    version, event = records(path)
    assert version.endswith(b"brain.Event:2")
    # Field 1 a double, field 2 the step 300 as a varint, field 5 the summary.
    assert event[0] == 0x09 and event[9:12] == b"\x10\xac\x02"
    value = b"\x0a\x09loss/flow\x15" + struct.pack("<f", 0.5)
    summary = b"\x0a" + bytes([len(value)]) + value
    assert event[12:] == b"\x2a" + bytes([len(summary)]) + summary
