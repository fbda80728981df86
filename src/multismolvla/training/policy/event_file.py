"""Scalars for TensorBoard, written without TensorBoard.

An event file is a row of records: length, its checksum, a protobuf `Event`, its checksum
(tensorflow/core/util/event.proto, summary.proto; record format: tensorflow/core/lib/io). Scalars
need five fields of it, so the few lines below replace a dependency on TensorBoard and protobuf.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

# CRC-32C (Castagnoli), reflected.
_POLYNOMIAL = 0x82F63B78


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """The checksum of the record format: rotated and offset, so that it may cover checksums."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes((value,))


def _bytes_field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _event(wall_time: float, step: int, payload: bytes) -> bytes:
    return b"\x09" + struct.pack("<d", wall_time) + b"\x10" + _varint(step) + payload


class EventFile:
    """One file of scalars in a folder that `tensorboard --logdir` reads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = open(folder / name, "ab")  # noqa: SIM115
        self._write(_event(time.time(), 0, _bytes_field(3, b"brain.Event:2")))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the values of a step; they are on disk when it returns."""
        summary = b"".join(
            _bytes_field(
                1, _bytes_field(1, name.encode()) + b"\x15" + struct.pack("<f", float(value))
            )
            for name, value in scalars.items()
        )
        self._write(_event(time.time(), step, _bytes_field(5, summary)))

    def close(self) -> None:
        self._file.close()

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        self._file.write(length + struct.pack("<I", masked_crc32c(length)))
        self._file.write(event + struct.pack("<I", masked_crc32c(event)))
        self._file.flush()
