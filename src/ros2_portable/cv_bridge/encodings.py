"""What the encoding names of sensor_msgs/image_encodings.hpp mean."""

import re
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

DEPTHS = {
    "8U": np.dtype("uint8"),
    "8S": np.dtype("int8"),
    "16U": np.dtype("uint16"),
    "16S": np.dtype("int16"),
    "32S": np.dtype("int32"),
    "32F": np.dtype("float32"),
    "64F": np.dtype("float64"),
}
DEPTH_NAMES = {dtype.name: name for name, dtype in DEPTHS.items()}
CV_DEPTHS = {getattr(cv2, f"CV_{name}"): dtype.name for name, dtype in DEPTHS.items()}
# OpenCV packs the number of channels above the depth; where it starts depends on the version.
_CHANNEL_STEP = cv2.CV_8UC2 - cv2.CV_8UC1

_COLOR_CHANNELS = {"mono": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}
_YUV = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUY2", "yuyv": "YUY2"}


class CvBridgeError(TypeError, RuntimeError):
    """An image cannot be converted; the text says why.

    TypeError is what the original raises from Python, RuntimeError what it raises from C++.
    """


@dataclass(frozen=True)
class Encoding:
    """`family` is rgb, bgr, rgba, bgra, mono, bayer_*, UYVY, YUY2, or None for plain numbers."""

    depth: str
    channels: int
    family: str | None

    @property
    def dtype(self) -> np.dtype:
        return DEPTHS[self.depth]


@lru_cache(maxsize=256)
def parse_encoding(name: str) -> Encoding:
    """Return the meaning of an encoding name; CvBridgeError if it has none."""
    if name in _YUV:
        return Encoding("8U", 2, _YUV[name])
    if match := re.fullmatch(r"(mono|rgb|bgr|rgba|bgra|bayer_(?:rggb|bggr|gbrg|grbg))(8|16)", name):
        return Encoding(match[2] + "U", _COLOR_CHANNELS.get(match[1], 1), match[1])
    match = re.fullmatch(r"(8U|8S|16U|16S|32S|32F|64F)(?:C([0-9]+))?", name)
    if match and 1 <= int(match[2] or 1) <= 512:  # CV_CN_MAX
        return Encoding(match[1], int(match[2] or 1), None)
    raise CvBridgeError(
        f"Unrecognized image encoding [{name}]; expected one of sensor_msgs/image_encodings "
        "such as rgb8, mono16, bayer_rggb8, yuv422 or 32FC1"
    )


def getCvType(encoding: str) -> int:
    """Return OpenCV's number for the type of the encoding's pixels, such as cv2.CV_8UC3."""
    parsed = parse_encoding(encoding)
    return getattr(cv2, f"CV_{parsed.depth}") + (parsed.channels - 1) * _CHANNEL_STEP


def CV_MAT_CNWrap(i: int) -> int:
    """Return the number of channels of an OpenCV type."""
    return i // _CHANNEL_STEP + 1


def CV_MAT_DEPTHWrap(i: int) -> int:
    """Return the depth (cv2.CV_8U, ...) of an OpenCV type."""
    return i % _CHANNEL_STEP
