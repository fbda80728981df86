"""The messages of cameras: images of frames, and calibration that follows its image."""

from __future__ import annotations

import numpy as np
from cv_bridge import CvBridge
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from multismolvla.modalities.conversion import to_counts
from multismolvla.modalities.modality import Modality


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
