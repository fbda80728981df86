"""Conversion of numpy images between encodings, by the rules of cv_bridge."""

import cv2
import numpy as np

from .encodings import DEPTHS, CvBridgeError, Encoding, parse_encoding

# OpenCV names a Bayer pattern after its second row and column, ROS after the first.
_BAYER = {"bayer_rggb": "BG", "bayer_bggr": "RG", "bayer_gbrg": "GR", "bayer_grbg": "GB"}
_DISPLAY_GUESS = {"8UC1": "mono8", "16UC1": "mono16", "8UC3": "bgr8", "8UC4": "bgra8"}


def _to_depth(image: np.ndarray, dtype: np.dtype, scale: float = 1.0) -> np.ndarray:
    """Return `image * scale` as `dtype`, rounded and saturated; NaN becomes 0 in integers."""
    if image.dtype == dtype and scale == 1.0:
        return image.copy()
    if dtype.kind == "f":
        return image.astype(dtype) * dtype.type(scale)
    limits = np.iinfo(dtype)
    scaled = np.rint(np.nan_to_num(image.astype(np.float64) * scale, posinf=2**40, neginf=-(2**40)))
    return np.clip(scaled, limits.min, limits.max).astype(dtype)


def _change_depth(image: np.ndarray, source: Encoding, target: Encoding) -> np.ndarray:
    """Change the number type; 8 and 16 bit ranges are mapped onto each other."""
    if (source.depth, target.depth) == ("16U", "8U"):
        # The same result as below, at a tenth of the time.
        return cv2.convertScaleAbs(image, alpha=255.0 / 65535.0).reshape(image.shape)
    widths = (source.dtype.itemsize, target.dtype.itemsize)
    scale = {(1, 2): 65535 / 255, (2, 1): 255 / 65535}.get(widths, 1.0)
    return _to_depth(image, target.dtype, scale)


def _conversion_code(source: Encoding, target: Encoding, names: str) -> int:
    to = "GRAY" if target.family == "mono" else target.family.upper()
    if source.family in _BAYER:
        name = f"Bayer{_BAYER[source.family]}2{to}"
    elif source.family in ("UYVY", "YUY2"):
        name = f"YUV2{to}_{source.family}"
    else:
        name = f"{'GRAY' if source.family == 'mono' else source.family.upper()}2{to}"
    if target.family not in ("mono", "rgb", "bgr", "rgba", "bgra") or (
        source.family in _BAYER and target.channels == 4
    ):
        raise CvBridgeError(f"Unsupported conversion {names}")
    return getattr(cv2, f"COLOR_{name}")


def cvtColor2(m: np.ndarray, encoding_in: str, encoding_out: str) -> np.ndarray:
    """Return image `m` as a new array in another encoding; CvBridgeError where that is impossible.

    m: (H, W) or (H, W, C) in `encoding_in`. Colors convert into each other and to gray, Bayer and
    YUV 4:2:2 to colors; plain numbers such as 32FC1 only change their number type.
    """
    if encoding_in == encoding_out:
        return m.copy()
    source, target = parse_encoding(encoding_in), parse_encoding(encoding_out)
    names = f"from [{encoding_in}] to [{encoding_out}]"
    if source.family is None and target.family is not None:
        raise CvBridgeError(
            f"Unsupported conversion {names}: [{encoding_in}] does not say what its channels mean"
        )
    if target.family is None or source.family == target.family not in _BAYER:
        if source.channels != target.channels:
            raise CvBridgeError(
                f"Unsupported conversion {names}: {source.channels} and {target.channels} channels"
            )
        return _change_depth(m, source, target)
    try:
        converted = cv2.cvtColor(m, _conversion_code(source, target, names))
    except cv2.error as error:
        raise CvBridgeError(f"Conversion {names} failed for shape {m.shape}: {error}") from None
    return converted if source.depth == target.depth else _change_depth(converted, source, target)


def _label_colors(labels: np.ndarray) -> np.ndarray:
    """Return labels (H, W) as BGR: hues a golden angle apart, -1 (background) black."""
    hue = (labels.astype(np.int64) * 68.754) % 180  # OpenCV counts hues in 2 degrees: 137.508 / 2
    hsv = np.full((*labels.shape, 3), 255, np.uint8)
    hsv[..., 0] = hue.astype(np.uint8)
    hsv[labels == -1] = 0
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def cvtColorForDisplay(
    source: np.ndarray,
    encoding_in: str,
    encoding_out: str,
    do_dynamic_scaling: bool = False,
    min_image_value: float = 0.0,
    max_image_value: float = 0.0,
) -> np.ndarray:
    """Return an 8 bit image to look at; CvBridgeError where that is impossible.

    32SC1 labels become colors. One channel is spread from [min_image_value, max_image_value] (with
    `do_dynamic_scaling` from the image's own range) to 0..255. An empty `encoding_out` is guessed.
    """
    parsed = parse_encoding(encoding_in)
    if not encoding_out:
        gray = parsed.channels == 1 and encoding_in != "32SC1"
        encoding_out = "mono8" if gray else "bgr8"
    target = parse_encoding(encoding_out)
    if target.depth != "8U" or target.family not in ("mono", "rgb", "bgr", "rgba", "bgra"):
        raise CvBridgeError(f"[{encoding_out}] cannot be displayed; expected mono8 or 8 bit color")
    if (encoding_in, encoding_out) == ("32SC1", "bgr8"):
        return _label_colors(source)
    if do_dynamic_scaling:
        min_image_value, max_image_value = float(np.nanmin(source)), float(np.nanmax(source))
        if min_image_value == max_image_value:
            shape = source.shape[:2] + ((target.channels,) if target.channels > 1 else ())
            return np.full(shape, 127, np.uint8)
    if min_image_value != max_image_value:
        if parsed.channels != 1:
            raise CvBridgeError(f"[{encoding_in}] has more than one channel to scale")
        spread = 255.0 / (max_image_value - min_image_value)
        gray = _to_depth(source.astype(np.float64) - min_image_value, DEPTHS["8U"], spread)
        return cvtColor2(gray, "mono8", encoding_out)
    return cvtColor2(source, _DISPLAY_GUESS.get(encoding_in, encoding_in), encoding_out)
