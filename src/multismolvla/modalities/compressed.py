"""Compressed images as `image_transport` sends them: `compressed` and `compressedDepth`.

The conventions are those of Jazzy's image_transport_plugins: a format such as
`rgb8; jpeg compressed bgr8` says what was compressed, and in what order the encoder was given the
colours; one such as `16UC1; compressedDepth png` has 12 bytes before its picture. Drivers that know
nothing of it write `jpeg` or `png`.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np

from multismolvla.modalities import rvl
from multismolvla.modalities.encodings import find_encoding

DEPTH = "compressedDepth"
# An int32, then the two numbers of the quantisation.
_HEADER = struct.Struct("<iff")
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"
# What pictures of one or three channels are, by the bits of a number.
_PLAIN = {(2, 1): "mono8", (2, 2): "mono16", (3, 1): "bgr8", (3, 2): "bgr16"}
_WITH_ALPHA = {1: "bgra8", 2: "bgra16"}
FILMS = ("h264", "h265", "hevc", "av1", "vp8", "vp9", "mpeg4")


def decompress(format: str, data: np.ndarray) -> tuple[str, np.ndarray]:
    """The encoding and the numbers (H, W[, C]) of a compressed image, as a raw one would have them.

    Args:
        format: of the message.
        data: (N,) uint8.

    Raises:
        ValueError: it holds no picture, or a part of one; one line.
    """
    format = " ".join(format.split())
    before, semicolon, after = (part.strip() for part in format.partition(";"))
    if DEPTH in format:
        return _depth(before if semicolon else "16UC1", after or format, data)
    if before.lower() in FILMS:
        raise ValueError(
            f"format is '{format}', a film, whose pictures cannot be had one by one; have the "
            "driver publish 'compressed' pictures (JPEG or PNG)"
        )
    frame = _picture(format, data)
    if frame.ndim == 3 and frame.shape[2] == 4:
        name = _WITH_ALPHA.get(frame.dtype.itemsize, "")
    else:
        name = _PLAIN.get((frame.ndim, frame.dtype.itemsize), "")
    if frame.dtype == np.float32 and frame.ndim == 2:
        name = "32FC1"
    if not name:
        raise ValueError(f"format is '{format}': pixels are {frame.shape} {frame.dtype}")
    if not semicolon:
        return name, frame
    if "compressed rgb" in after:
        # The encoder was given red where it expects blue.
        name = name.replace("bgr", "rgb")
    elif frame.ndim == 2 and before.startswith("bayer_"):
        # Neither colour nor grey to the encoder, which takes the pattern as it is.
        known = find_encoding(before)
        name = f"{known.family}{8 * frame.dtype.itemsize}"
    return name, frame


def is_jpeg(data: np.ndarray) -> bool:
    """Whether it is a picture that is only about right."""
    return data[:2].tobytes() == _JPEG


def _picture(format: str, data: np.ndarray) -> np.ndarray:
    """What OpenCV makes of it, as it is stored: 16 bits stay, nothing is turned."""
    _check_whole(format, data)
    try:
        frame = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except cv2.error:
        frame = None
    if frame is None:
        raise ValueError(f"cannot decode a compressed image of the format '{format}'")
    return frame


def _check_whole(format: str, data: np.ndarray) -> None:
    """OpenCV fills up what is missing of a picture with grey, and says nothing."""
    start = data[:4].tobytes()
    if start.startswith(_JPEG):
        # A picture for a preview may lie before the last start of a scan, with an end of its own.
        everything = data.tobytes()
        whole = everything.rfind(b"\xff\xd9") > everything.rfind(b"\xff\xda") >= 0
    elif start == _PNG:
        whole = b"IEND" in data[-64:].tobytes()
    else:
        return
    if not whole:
        raise ValueError(
            f"a compressed image of the format '{format}' ends after {len(data)} bytes, before "
            "its picture does: it is truncated"
        )


def _depth(encoding: str, how: str, data: np.ndarray) -> tuple[str, np.ndarray]:
    if len(data) <= _HEADER.size:
        raise ValueError(f"{DEPTH} of {len(data)} bytes: it is truncated")
    _, a, b = _HEADER.unpack(data[: _HEADER.size].tobytes())
    body = data[_HEADER.size :]
    # Until 2022 it was always PNG, and not said.
    word = how.partition(DEPTH)[2].split()[:1] or ["png"]
    if word == ["png"]:
        stored = _picture(f"{encoding}; {how}", body)
    elif word == ["rvl"]:
        if len(body) <= 8:
            raise ValueError(f"{DEPTH} rvl of {len(data)} bytes: it is truncated")
        width, height = struct.unpack("<II", body[:8].tobytes())
        stored = rvl.decompress(body[8:], width * height).reshape(height, width)
    else:
        raise ValueError(f"{DEPTH} is '{word[0]}'; expected png or rvl")
    if stored.ndim != 2 or stored.dtype != np.uint16:
        raise ValueError(f"{DEPTH} holds {stored.shape} {stored.dtype}; expected 16 bits of grey")
    if find_encoding(encoding).dtype != np.float32:
        return encoding, stored
    # Inverse depth, finer where it is near; zero stands for no value.
    if not (np.isfinite((a, b)).all() and a > 0.0):
        raise ValueError(f"{DEPTH} is quantised by {a:g} and {b:g}; expected a positive number")
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.float32(a) / (stored.astype(np.float32) - np.float32(b))
    return encoding, np.where((stored > 0) & (depth > 0.0), depth, np.float32(np.nan))
