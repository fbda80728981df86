"""The encodings of sensor_msgs/image_encodings.hpp: from bytes to numbers, from numbers to colours.

Names and layouts are those of ROS 2 Jazzy's `image_encodings.hpp`. What a name does not say is not
guessed: `8UC3` has three channels in an order that only its driver knows.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

# Signed, unsigned and floating numbers of OpenCV's type names, by bits.
_NUMBERS = {"8U": "u1", "8S": "i1", "16U": "u2", "16S": "i2", "32S": "i4", "32F": "f4", "64F": "f8"}
_CHANNELS = {"mono": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}
# ROS names a Bayer pattern by its first row, OpenCV by its second row and column.
_BAYER = {"bayer_rggb": "BG", "bayer_bggr": "RG", "bayer_gbrg": "GR", "bayer_grbg": "GB"}
_YUV422 = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUY2", "yuyv": "YUY2"}
# A plane of brightness, then one of colour; of what size, in rows of the image.
_PLANAR = {"nv12": 1.5, "nv21": 1.5, "nv24": 3.0}


class Encoding(NamedTuple):
    """What a name says.

    Attributes:
        family: how the channels become colours, such as `bgra`, `bayer_rggb`, `UYVY` or `nv12`; ""
            for numbers that are no colours.
        dtype: of a number, in native byte order.
        channels: numbers of a pixel.
        rows: rows of the data for a row of the image.
    """

    family: str
    dtype: np.dtype
    channels: int
    rows: float = 1.0


@lru_cache(maxsize=256)
def find_encoding(name: str) -> Encoding:
    """What an encoding is.

    Raises:
        ValueError: ROS knows none of that name; one line.
    """
    byte = np.dtype(np.uint8)
    if name in _YUV422:
        return Encoding(_YUV422[name], byte, 2)
    if name in _PLANAR:
        return Encoding(name, byte, 1, _PLANAR[name])
    colours = re.fullmatch(r"([a-z_]+?)(8|16)", name)
    if colours and colours[1] in _CHANNELS | _BAYER:
        dtype = np.dtype(f"u{int(colours[2]) // 8}")
        return Encoding(colours[1], dtype, _CHANNELS.get(colours[1], 1))
    numbers = re.fullmatch(r"(8U|8S|16U|16S|32S|32F|64F)(?:C(\d{1,3}))?", name)
    if numbers and int(numbers[2] or 1):
        return Encoding("", np.dtype(_NUMBERS[numbers[1]]), int(numbers[2] or 1))
    raise ValueError(
        f"encoding is '{' '.join(name.split())}'; expected one of sensor_msgs/image_encodings, "
        "such as rgb8, bayer_rggb8, yuyv, mono16 or 32FC1"
    )


def unpack(
    encoding: Encoding, width: int, height: int, step: int, big_endian: bool, data: np.ndarray
) -> np.ndarray:
    """The numbers (R, W[, C]) of an image's bytes, in native byte order; R is H but for planes.

    They share the bytes' memory where they can.

    Args:
        step: bytes from one row to the next; those behind the pixels are padding.
        data: (N,) uint8, of which more than needed is left.

    Raises:
        ValueError: the sizes contradict one another; one line.
    """
    dtype, size = encoding.dtype, f"image is {width}x{height}, step {step}"
    if not width or not height:
        raise ValueError(f"{size}: it has no pixels")
    row = width * encoding.channels * dtype.itemsize
    if step < row:
        raise ValueError(f"{size}: a row of {width} pixels has {row} bytes")
    if encoding.rows > 1.0 and (width % 2 or height % 2):
        raise ValueError(f"{size}: blocks of pixels share a colour, expected even sizes")
    if encoding.family == "nv24" and step != width:
        raise ValueError(f"{size}: expected rows without padding")
    if width % 2 and encoding.family in _YUV422.values():
        raise ValueError(f"{size}: pixels come in pairs, expected an even width")
    rows = int(height * encoding.rows)
    if len(data) < rows * step:
        raise ValueError(f"{size}, but holds {len(data)} bytes of {rows * step}: it is truncated")
    shape = (rows, width, encoding.channels)[: 3 if encoding.channels > 1 else 2]
    frame = np.ndarray(
        shape,
        dtype.newbyteorder(">" if big_endian else "<"),
        data,
        strides=(step, encoding.channels * dtype.itemsize, dtype.itemsize)[: len(shape)],
    )
    return np.ascontiguousarray(frame, dtype)


def to_colours(name: str, frame: np.ndarray) -> np.ndarray:
    """Numbers of an encoding as colours (H, W, 3) uint8, red first; 16 bits are scaled to 8.

    Raises:
        ValueError: the encoding does not say what colours they are; one line.
    """
    family = find_encoding(name).family
    if not family and name not in ("8U", "8UC1"):
        raise ValueError(
            f"encoding is '{name}', which does not say what its channels are; have the driver "
            "name them: rgb8, bgr8, rgba8, bgra8, mono8 or mono16"
        )
    if family in _PLANAR:
        return _planes_to_colours(family, frame)
    if family in ("", "mono"):
        made = cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB)
    elif family in _BAYER:
        made = cv2.cvtColor(frame, getattr(cv2, f"COLOR_Bayer{_BAYER[family]}2RGB"))
    elif family in _CHANNELS:
        code = {"bgr": cv2.COLOR_BGR2RGB, "bgra": cv2.COLOR_BGRA2RGB, "rgba": cv2.COLOR_RGBA2RGB}
        made = frame if family == "rgb" else cv2.cvtColor(frame, code[family])
    else:
        made = cv2.cvtColor(frame, getattr(cv2, f"COLOR_YUV2RGB_{family}"))
    return _to_bytes(made)


def to_grey(name: str, frame: np.ndarray) -> np.ndarray:
    """Numbers of an encoding as brightness (H, W) uint8.

    Raises:
        ValueError: as `to_colours`.
    """
    if frame.ndim == 2 and find_encoding(name).family in ("mono", "") and name[0] in "8m":
        return _to_bytes(frame)
    return cv2.cvtColor(to_colours(name, frame), cv2.COLOR_RGB2GRAY)


def _planes_to_colours(family: str, frame: np.ndarray) -> np.ndarray:
    if family != "nv24":
        return cv2.cvtColor(frame, getattr(cv2, f"COLOR_YUV2RGB_{family.upper()}"))
    # OpenCV has no conversion with a colour for every pixel. With every pixel as a block of four
    # it is that with a colour for every block.
    height, width = len(frame) // 3, frame.shape[1]
    bright = frame[:height].repeat(2, axis=0).repeat(2, axis=1)
    blocks = np.concatenate((bright, frame[height:].reshape(height, 2 * width)))
    return np.ascontiguousarray(cv2.cvtColor(blocks, cv2.COLOR_YUV2RGB_NV12)[::2, ::2])


def _to_bytes(frame: np.ndarray) -> np.ndarray:
    return frame if frame.dtype == np.uint8 else cv2.convertScaleAbs(frame, alpha=255 / 65535)
