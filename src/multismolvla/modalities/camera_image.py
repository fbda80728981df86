"""The one decoder of camera images: from a message to the raw frame of a kind.

Nodes, replay and training read images by this, from messages of rclpy and of bags alike, so that
one message is one frame everywhere. It needs no ROS: a message is anything with the fields of
`sensor_msgs/Image` or `sensor_msgs/CompressedImage`.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from multismolvla.modalities import compressed
from multismolvla.modalities.conversion import to_units
from multismolvla.modalities.encodings import find_encoding, to_colours, to_grey, unpack
from multismolvla.modalities.modality import Modality
from multismolvla.one_line import one_line


def raw_frame(modality: Modality, message: Any) -> np.ndarray:
    """The pixels of a camera's image, as `conversion.to_units` takes them.

    Colours may come in any order, with alpha or without, as Bayer pattern or YUV; a grey image
    becomes a colour one. What has a unit, and labels, is taken as it is.

    Raises:
        ValueError: the message holds no image, a part of one, or one that is not of this kind; one
            line.
    """
    name, frame = _numbers(modality, message)
    try:
        if modality.decoded_as == "rgb8":
            return to_colours(name, frame)
        if modality.decoded_as == "mono8":
            return to_grey(name, frame)
    except cv2.error as error:
        raise ValueError(f"image of {name}, {frame.shape}: {one_line(error)}") from None
    accepted = modality.raw_encodings or (modality.encoding,)
    if name not in accepted:
        raise ValueError(f"encoding is '{name}'; expected {' or '.join(accepted)}")
    return frame.astype(np.float32) if frame.dtype == np.float64 else frame


def frame_in_units(modality: Modality, message: Any) -> np.ndarray:
    """The frame of an image in the unit of its kind, by what the kind's cameras usually mean.

    Raises:
        ValueError: as `raw_frame` and `conversion.to_units`; one line.
    """
    return to_units(modality, raw_frame(modality, message))


def numbers(message: Any) -> np.ndarray:
    """The numbers (H, W[, C]) of an uncompressed image as they are.

    Raises:
        ValueError: its encoding or its sizes are wrong; one line.
    """
    return unpack(
        find_encoding(message.encoding),
        message.width,
        message.height,
        message.step,
        bool(message.is_bigendian),
        _bytes(message),
    )


def _numbers(modality: Modality, message: Any) -> tuple[str, np.ndarray]:
    if not hasattr(message, "format"):
        return message.encoding, numbers(message)
    data = _bytes(message)
    if compressed.is_jpeg(data) and (modality.is_float or modality.labels):
        raise ValueError(
            f"format is '{' '.join(message.format.split())}': a JPEG is a picture for people and "
            f"holds no {modality.unit}; publish 'compressed' with PNG"
            + (f", or '{compressed.DEPTH}'" if modality.no_return else "")
        )
    return compressed.decompress(message.format, data)


def _bytes(message: Any) -> np.ndarray:
    """(N,) uint8, shared with the message; one made by hand may carry a list."""
    data = bytes(message.data) if isinstance(message.data, list) else message.data
    return np.frombuffer(data, np.uint8)
