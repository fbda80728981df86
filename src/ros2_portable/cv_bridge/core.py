"""The bridge between image messages and numpy images."""

import array
import sys

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from . import encodings
from .conversion import cvtColor2
from .encodings import CvBridgeError, getCvType, parse_encoding


def _byte_array(data: np.ndarray) -> array.array:
    """Return a copy as array.array: the one type that messages take unchecked and uncopied."""
    filled = array.array("B")
    filled.frombytes(np.ascontiguousarray(data).reshape(-1).view(np.uint8))
    return filled


def _require_array(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f"the image is a {type(image).__name__}, expected a numpy array")


class CvBridge:
    """Converts images; keeps no state."""

    def dtype_with_channels_to_cvtype2(self, dtype: np.dtype, n_channels: int) -> str:
        """Return the generic encoding, such as 8UC3, of arrays of a number type."""
        if dtype.name not in encodings.DEPTH_NAMES:
            raise CvBridgeError(
                f"no image encoding for {dtype.name}; use {', '.join(encodings.DEPTH_NAMES)}"
            )
        return f"{encodings.DEPTH_NAMES[dtype.name]}C{n_channels}"

    def cvtype2_to_dtype_with_channels(self, cvtype: int) -> tuple[str, int]:
        depth = encodings.CV_MAT_DEPTHWrap(cvtype)
        return encodings.CV_DEPTHS[depth], encodings.CV_MAT_CNWrap(cvtype)

    def encoding_to_cvtype2(self, encoding: str) -> int:
        return getCvType(encoding)

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        return self.cvtype2_to_dtype_with_channels(self.encoding_to_cvtype2(encoding))

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = "passthrough") -> np.ndarray:
        """Return the image (H, W) or (H, W, C) in native byte order.

        `passthrough` keeps the message's encoding and shares its memory where it can; any other
        encoding gives an array of its own. CvBridgeError for bad messages and conversions.
        """
        image = self._view(img_msg)
        if desired_encoding == "passthrough":
            return image
        return cvtColor2(image, img_msg.encoding, desired_encoding)

    def _view(self, msg: Image) -> np.ndarray:
        """Return the message's pixels, shared unless rows are padded or bytes swapped."""
        encoding = parse_encoding(msg.encoding)
        pixel = encoding.dtype.itemsize * encoding.channels
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
        swapped = encoding.dtype.itemsize > 1 and bool(msg.is_bigendian) != (sys.byteorder == "big")
        image = np.ndarray(
            shape=(msg.height, msg.width, encoding.channels),
            dtype=encoding.dtype.newbyteorder() if swapped else encoding.dtype,
            buffer=data,
            strides=(msg.step, pixel, encoding.dtype.itemsize),
        )
        if encoding.channels == 1:
            image = image[:, :, 0]
        return np.ascontiguousarray(image, dtype=encoding.dtype)

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
        generic = self.dtype_with_channels_to_cvtype2(
            cvim.dtype, 1 if cvim.ndim == 2 else cvim.shape[2]
        )
        if encoding == "passthrough":
            encoding = generic
        elif self.encoding_to_cvtype2(encoding) != self.encoding_to_cvtype2(generic):
            raise CvBridgeError(f"encoding specified as {encoding}, but the image is {generic}")
        msg = Image(
            height=cvim.shape[0], width=cvim.shape[1], encoding=encoding, data=_byte_array(cvim)
        )
        if header is not None:
            msg.header = header
        msg.step = len(msg.data) // msg.height
        order = cvim.dtype.byteorder
        msg.is_bigendian = int(order == ">" or (order == "=" and sys.byteorder == "big"))
        return msg

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
        return cvtColor2(image, encoding, desired_encoding)

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
