"""What the encodings of sensor_msgs/image_encodings.hpp mean, and conversions between them."""

import re
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from ros2_portable import explain

NUMBERS = {"8U": "uint8", "8S": "int8", "16U": "uint16", "16S": "int16", "32S": "int32"}
NUMBERS |= {"32F": "float32", "64F": "float64"}
_COLOR_CHANNELS = {"mono": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}
# OpenCV names a Bayer pattern after its second row and column, ROS after the first.
_BAYER = {"bayer_rggb": "BG", "bayer_bggr": "RG", "bayer_gbrg": "GR", "bayer_grbg": "GB"}
_YUV = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUY2", "yuyv": "YUY2"}


class CvBridgeError(TypeError, RuntimeError):
    """An image cannot be converted; the text says why.

    TypeError is what the original raises from Python, RuntimeError what it raises from C++.
    """


class Encoding(NamedTuple):
    """`family` is a key of _COLOR_CHANNELS or _BAYER, UYVY, YUY2, or None for plain numbers."""

    dtype: np.dtype
    channels: int
    family: str | None


@lru_cache(maxsize=256)
def parse_encoding(name: str) -> Encoding:
    """Return the meaning of an encoding name; CvBridgeError if it has none."""
    if name in _YUV:
        return Encoding(np.dtype("uint8"), 2, _YUV[name])
    if match := re.fullmatch(r"(mono|rgb|bgr|rgba|bgra|bayer_(?:rggb|bggr|gbrg|grbg))(8|16)", name):
        return Encoding(np.dtype(f"uint{match[2]}"), _COLOR_CHANNELS.get(match[1], 1), match[1])
    match = re.fullmatch(r"(8U|8S|16U|16S|32S|32F|64F)(?:C([0-9]+))?", name)
    if match and 1 <= int(match[2] or 1) <= 512:  # CV_CN_MAX
        return Encoding(np.dtype(NUMBERS[match[1]]), int(match[2] or 1), None)
    raise CvBridgeError(
        f"Unrecognized image encoding [{name}]; expected one of sensor_msgs/image_encodings "
        "such as rgb8, mono16, bayer_rggb8, yuv422 or 32FC1"
    )


def _change_numbers(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return a copy: 8 and 16 bit ranges mapped onto each other, others rounded and saturated."""
    if dtype.kind == "f" or image.dtype == dtype:
        return image.astype(dtype)
    widths = (image.dtype.itemsize, dtype.itemsize)
    scale = {(1, 2): 65535 / 255, (2, 1): 255 / 65535}.get(widths, 1.0)
    limits = np.iinfo(dtype)
    rounded = np.rint(np.nan_to_num(image.astype(np.float64) * scale))
    return np.clip(rounded, limits.min, limits.max).astype(dtype)


def _color_code(source: str, target: str) -> int | None:
    """Return OpenCV's number for a conversion between two families."""
    if target not in _COLOR_CHANNELS or (source in _BAYER and _COLOR_CHANNELS[target] == 4):
        return None
    to = "GRAY" if target == "mono" else target.upper()
    if source in _BAYER:
        return getattr(cv2, f"COLOR_Bayer{_BAYER[source]}2{to}")
    if source in _COLOR_CHANNELS:
        return getattr(cv2, f"COLOR_{'GRAY' if source == 'mono' else source.upper()}2{to}")
    return getattr(cv2, f"COLOR_YUV2{to}_{source}")


def convert(image: np.ndarray, encoding_in: str, encoding_out: str) -> np.ndarray:
    """Return an image (H, W) or (H, W, C) as a new array in another encoding.

    Colors convert into each other and to gray, Bayer and YUV 4:2:2 to colors; plain numbers such
    as 32FC1 only change their type. CvBridgeError for everything else.
    """
    if encoding_in == encoding_out:
        return image.copy()
    source, target = parse_encoding(encoding_in), parse_encoding(encoding_out)
    unsupported = f"Unsupported conversion from [{encoding_in}] to [{encoding_out}]"
    if target.family is None or source.family == target.family not in _BAYER:
        if source.channels != target.channels:
            raise CvBridgeError(f"{unsupported}: {source.channels} and {target.channels} channels")
        return _change_numbers(image, target.dtype)
    if source.family is None:
        raise CvBridgeError(f"{unsupported}: [{encoding_in}] does not say what its channels mean")
    code = _color_code(source.family, target.family)
    if code is None:
        raise CvBridgeError(unsupported)
    try:
        return _change_numbers(cv2.cvtColor(image, code), target.dtype)
    except cv2.error as error:
        raise CvBridgeError(f"{unsupported} for shape {image.shape}: {error}") from None


def cvtColorForDisplay(labels: np.ndarray, encoding_in: str, encoding_out: str) -> np.ndarray:
    """Return labels (H, W), 32SC1, as bgr8: hues a golden angle apart, -1 (background) black."""
    if (encoding_in, encoding_out) != ("32SC1", "bgr8"):
        raise CvBridgeError(explain(f"cv_bridge.cvtColorForDisplay of [{encoding_in}]"))
    hsv = np.full((*labels.shape, 3), 255, np.uint8)
    # OpenCV counts hues in steps of 2 degrees: 137.508 / 2.
    hsv[..., 0] = ((labels.astype(np.int64) * 68.754) % 180).astype(np.uint8)
    hsv[labels == -1] = 0
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
