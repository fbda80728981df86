"""The messages of cameras: images to pixels and back, and calibration that follows its image."""

from __future__ import annotations

import cv2
import numpy as np
from cv_bridge import CvBridge, CvBridgeError
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from multismolvla.modalities.conversion import to_counts
from multismolvla.modalities.modality import Modality
from multismolvla.one_line import one_line


def raw_pixels(bridge: CvBridge, modality: Modality, message: Image) -> np.ndarray:
    """The pixels of a camera's image, as `conversion.to_units` takes them.

    Raises:
        ValueError: the message holds no image, or one of an encoding that is not accepted.
    """
    size = f"image is {message.width}x{message.height}, step {message.step}"
    if not message.width or not message.height:
        raise ValueError(f"{size}: it has no pixels")
    if len(message.data) < message.height * message.step:
        raise ValueError(
            f"{size}, but holds {len(message.data)} bytes of "
            f"{message.height * message.step}: it is truncated"
        )
    accepted = modality.raw_encodings
    if accepted and message.encoding not in accepted:
        raise ValueError(f"encoding is '{message.encoding}'; expected {' or '.join(accepted)}")
    return pixels(bridge, message, modality.decoded_as)


def pixels(bridge: CvBridge, message: Image, encoding: str) -> np.ndarray:
    """The pixels of an image, converted to an encoding; `passthrough` leaves them.

    Raises:
        ValueError: the image contradicts itself, or cannot be converted.
    """
    try:
        return bridge.imgmsg_to_cv2(message, encoding)
    # cv_bridge passes on what numpy and OpenCV raise for images that contradict themselves.
    except (CvBridgeError, cv2.error, TypeError, ValueError, KeyError) as error:
        problem = one_line(error)
        raise ValueError(
            f"image is {message.width}x{message.height}, step {message.step}, encoding "
            f"'{message.encoding}': {problem}"
        ) from None


def raw_image(bridge: CvBridge, modality: Modality, frame: np.ndarray, header: Header) -> Image:
    """The message that a camera driver publishes of a frame in units: integers as counts."""
    return bridge.cv2_to_imgmsg(to_counts(modality, frame), modality.stored_encoding, header)


def scaled(info: CameraInfo, height: int, width: int) -> CameraInfo:
    """Return the calibration of the image resized to (height, width).

    Pixel centres lie at integers (as in OpenCV), so the image's corner, half a pixel before the
    first centre, is what stays in place. Distortion has no unit and stays as it is. Binning and
    region of interest are folded in by the driver and do not survive.
    """
    fx, fy = width / info.width, height / info.height
    k, p = [float(value) for value in info.k], [float(value) for value in info.p]
    for matrix, row in ((k, 3), (p, 4)):
        matrix[0] *= fx
        matrix[1] *= fx
        matrix[2] = (matrix[2] + 0.5) * fx - 0.5
        matrix[row + 1] *= fy
        matrix[row + 2] = (matrix[row + 2] + 0.5) * fy - 0.5
    p[3] *= fx
    p[7] *= fy
    return CameraInfo(
        header=info.header,
        height=height,
        width=width,
        distortion_model=info.distortion_model,
        d=info.d,
        k=k,
        r=info.r,
        p=p,
    )
