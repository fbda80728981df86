"""The bridge between image messages and numpy images."""

import array
import sys

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from .conversion import NUMBERS, CvBridgeError, convert, parse_encoding


def _byte_array(data: np.ndarray) -> array.array:
    """Return a copy as array.array: the one type that messages take unchecked and uncopied."""
    return array.array("B", np.ascontiguousarray(data).tobytes())


def _require_array(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f"the image is a {type(image).__name__}, expected a numpy array")


class CvBridge:
    """Converts images; keeps no state."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = "passthrough") -> np.ndarray:
        """Return the image (H, W) or (H, W, C) in native byte order.

        `passthrough` keeps the message's encoding and shares its memory where it can; any other
        encoding gives an array of its own. CvBridgeError for bad messages and conversions.
        """
        image = self._view(img_msg)
        if desired_encoding == "passthrough":
            return image
        return convert(image, img_msg.encoding, desired_encoding)

    def _view(self, msg: Image) -> np.ndarray:
        """Return the message's pixels, shared unless rows are padded or bytes swapped."""
        dtype, channels, _ = parse_encoding(msg.encoding)
        pixel = dtype.itemsize * channels
        size = f"{msg.width}x{msg.height} {msg.encoding}"
        if msg.width == 0 or msg.height == 0:
            raise CvBridgeError(f"empty image: {size}")
        # Messages made by hand may carry a list.
        data = bytes(msg.data) if isinstance(msg.data, list) else msg.data
        if msg.step < msg.width * pixel or len(data) != msg.height * msg.step:
            raise CvBridgeError(
                f"malformed image: {size} with step {msg.step} and {len(data)} bytes of data; "
                f"expected step >= {msg.width * pixel} and height x step bytes"
            )
        image = np.ndarray(
            shape=(msg.height, msg.width, channels),
            dtype=dtype.newbyteorder(">" if msg.is_bigendian else "<"),
            buffer=data,
            strides=(msg.step, pixel, dtype.itemsize),
        )
        return np.ascontiguousarray(image[:, :, 0] if channels == 1 else image, dtype=dtype)

    def cv2_to_imgmsg(
        self, cvim: np.ndarray, encoding: str = "passthrough", header: Header | None = None
    ) -> Image:
        """Return the message of an image (H, W) or (H, W, C).

        `passthrough` names the encoding after the array's type, such as 8UC3. TypeError for what
        is no array, CvBridgeError where the encoding does not fit the array.
        """
        _require_array(cvim)
        if cvim.ndim not in (2, 3) or 0 in cvim.shape:
            raise CvBridgeError(f"shape {cvim.shape} is no image; expected (H, W) or (H, W, C)")
        names = {dtype: name for name, dtype in NUMBERS.items()}
        if cvim.dtype.name not in names:
            raise CvBridgeError(f"no image encoding for {cvim.dtype}; use {', '.join(names)}")
        generic = f"{names[cvim.dtype.name]}C{1 if cvim.ndim == 2 else cvim.shape[2]}"
        if encoding == "passthrough":
            encoding = generic
        elif parse_encoding(encoding)[:2] != parse_encoding(generic)[:2]:
            raise CvBridgeError(f"encoding specified as {encoding}, but the image is {generic}")
        data, order = _byte_array(cvim), cvim.dtype.byteorder
        return Image(
            header=header or Header(),
            height=cvim.shape[0],
            width=cvim.shape[1],
            encoding=encoding,
            is_bigendian=int(order == ">" or (order == "=" and sys.byteorder == "big")),
            step=len(data) // cvim.shape[0],
            data=data,
        )

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = "passthrough"
    ) -> np.ndarray:
        """Return a compressed image as gray (H, W) or BGR (H, W, 3); CvBridgeError if damaged."""
        try:
            data = np.frombuffer(bytes(cmprs_img_msg.data), np.uint8)
            image = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
        except cv2.error:
            image = None  # OpenCV raises on no data and returns None on bad data.
        if image is None:
            raise CvBridgeError(
                f"{len(cmprs_img_msg.data)} bytes of format [{cmprs_img_msg.format}] are no image "
                "that OpenCV can decode"
            )
        if desired_encoding == "passthrough":
            return image
        encoding = ("mono" if image.ndim == 2 else "bgr") + str(image.dtype.itemsize * 8)
        return convert(image, encoding, desired_encoding)

    def cv2_to_compressed_imgmsg(
        self, cvim: np.ndarray, dst_format: str = "jpg"
    ) -> CompressedImage:
        """Return an image compressed as `dst_format` (jpg, png, tiff, ...): gray, BGR or BGRA."""
        _require_array(cvim)
        try:
            encoded = cv2.imencode(f".{dst_format}", cvim)[1]
        except cv2.error as error:
            raise CvBridgeError(
                f"OpenCV cannot encode {cvim.dtype} {cvim.shape} as [{dst_format}]: {error}"
            ) from None
        return CompressedImage(format=dst_format, data=_byte_array(encoded))
