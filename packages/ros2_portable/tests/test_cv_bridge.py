"""cv_bridge: conversions, messages from elsewhere, and damaged ones."""

import array

import cv2
import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError, cvtColorForDisplay
from cv_bridge.conversion import convert, parse_encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

BRIDGE = CvBridge()
DTYPES = ["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"]
COLORS = [f"{name}{bits}" for name in ("rgb", "bgr", "rgba", "bgra", "mono") for bits in (8, 16)]


def image(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 127, shape).astype(dtype)


def filled(encoding: str, seed: int = 0) -> np.ndarray:
    """Return an 8 x 6 image that fits an encoding, over the whole range of its integers."""
    dtype, channels, _ = parse_encoding(encoding)
    shape = (8, 6, channels) if channels > 1 else (8, 6)
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    return rng.integers(limits.min, limits.max + 1, shape, dtype=dtype)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    channels=st.sampled_from([None, 1, 2, 3, 4, 5]),
    big=st.booleans(),
    padding=st.integers(0, 9),
)
def test_any_array_survives_the_message(dtype, height, width, channels, big, padding):
    shape = (height, width) + ((channels,) if channels else ())
    original = image(dtype, shape)
    message = BRIDGE.cv2_to_imgmsg(original.astype(original.dtype.newbyteorder("><"[not big])))
    if padding:
        rows = np.frombuffer(message.data, np.uint8).reshape(height, -1)
        message.data = array.array("B", np.pad(rows, ((0, 0), (0, padding))).tobytes())
        message.step += padding
    result = BRIDGE.imgmsg_to_cv2(message)
    assert result.dtype == np.dtype(dtype)
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, original.reshape(result.shape))
    assert result.ndim == (3 if (channels or 1) > 1 else 2)


@pytest.mark.parametrize("source", COLORS)
@pytest.mark.parametrize("target", COLORS)
def test_colors_convert_as_opencv_does_and_depths_scale(source, target):
    original = filled(source)
    result = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(original, source), target)
    families = [name[: -1 if name.endswith("8") else -2] for name in (source, target)]
    expected = original
    if families[0] != families[1]:
        a, b = ("GRAY" if family == "mono" else family.upper() for family in families)
        expected = cv2.cvtColor(original, getattr(cv2, f"COLOR_{a}2{b}"))
    if source.endswith("8") and target.endswith("16"):
        expected = (expected.astype(np.float64) * 257).astype(np.uint16)
    elif source.endswith("16") and target.endswith("8"):
        expected = np.rint(expected / 257).astype(np.uint8)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


def test_bayer_and_yuv_become_colors():
    green = np.zeros((8, 8), np.uint8)
    green[0::2, 1::2] = green[1::2, 0::2] = 200  # The G places of RGGB.
    for encoding in ("bayer_rggb8", "bayer_bggr8"):
        message = BRIDGE.cv2_to_imgmsg(green, encoding)
        middle = BRIDGE.imgmsg_to_cv2(message, "rgb8")[3:5, 3:5]
        assert (middle == [0, 200, 0]).all()
    red = np.zeros((8, 8), np.uint8)
    red[0::2, 0::2] = 200
    assert BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(red, "bayer_rggb8"), "rgb8")[4, 4, 0] == 200
    assert BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(red, "bayer_rggb8"), "bgr8")[4, 4, 2] == 200
    gray = np.full((4, 4, 2), 128, np.uint8)
    gray[..., 1] = 77  # UYVY: chroma first, luma second; YUYV the other way round.
    assert (BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(gray, "yuv422"), "mono8") == 77).all()
    assert (BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(gray, "uyvy"), "mono8") == 77).all()
    assert (BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(gray, "yuyv"), "mono8") == 128).all()


def test_plain_numbers_change_only_their_type():
    depth_mm = np.array([[0, 1000, 65535]], np.uint16)
    message = BRIDGE.cv2_to_imgmsg(depth_mm, "16UC1")
    as_float = BRIDGE.imgmsg_to_cv2(message, "32FC1")
    np.testing.assert_array_equal(as_float, depth_mm.astype(np.float32))
    back = convert(np.array([[-1.0, 1000.5, np.nan, 1e9]], np.float32), "32FC1", "16UC1")
    np.testing.assert_array_equal(back, [[0, 1000, 0, 65535]])
    with pytest.raises(CvBridgeError, match="does not say what its channels mean"):
        BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(filled("rgb8")), "mono16")
    with pytest.raises(CvBridgeError, match="3 and 1 channels"):
        BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(filled("rgb8"), "rgb8"), "8UC1")


def test_passthrough_shares_the_message_and_conversion_does_not():
    message = BRIDGE.cv2_to_imgmsg(filled("rgb8"), "rgb8")
    assert np.shares_memory(BRIDGE.imgmsg_to_cv2(message), np.frombuffer(message.data, np.uint8))
    copy = BRIDGE.imgmsg_to_cv2(message, "rgb8")
    assert not np.shares_memory(copy, np.frombuffer(message.data, np.uint8))


def test_data_may_be_bytes_or_a_list_and_views_are_written_densely():
    original = filled("bgr8")
    message = BRIDGE.cv2_to_imgmsg(original[::2, ::-1], "bgr8", Header(frame_id="camera"))
    assert (message.header.frame_id, message.step) == ("camera", 18)
    assert isinstance(message.data, array.array)
    for data in (bytes(message.data), list(message.data)):
        message.data = data
        np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message), original[::2, ::-1])


@settings(max_examples=60, deadline=None)
@given(
    encoding=st.sampled_from([*COLORS, "32FC1", "bayer_rggb8", "yuv422", "8UC0", "64FC9999", "x"]),
    desired=st.sampled_from(["passthrough", *COLORS, "32FC1", "x"]),
    height=st.integers(0, 5),
    width=st.integers(0, 5),
    step=st.integers(0, 50),
    data=st.binary(max_size=120),
)
def test_arbitrary_messages_give_an_image_or_a_cv_bridge_error(
    encoding, desired, height, width, step, data
):
    message = Image(height=height, width=width, step=step, encoding=encoding)
    message.data = array.array("B", data)
    try:
        result = BRIDGE.imgmsg_to_cv2(message, desired)
    except CvBridgeError as error:
        assert str(error)
    else:
        assert result.shape[:2] == (height, width)


def test_errors_say_what_is_wrong():
    message = BRIDGE.cv2_to_imgmsg(filled("rgb8"), "rgb8")
    message.data = message.data[:-1]
    with pytest.raises(CvBridgeError, match="6x8 rgb8 with step 18 and 143 bytes"):
        BRIDGE.imgmsg_to_cv2(message)
    with pytest.raises(CvBridgeError, match="Unrecognized image encoding \\[jpeg\\]"):
        BRIDGE.imgmsg_to_cv2(Image(encoding="jpeg"))
    with pytest.raises(CvBridgeError, match="empty image: 0x0 rgb8"):
        BRIDGE.imgmsg_to_cv2(Image(encoding="rgb8"))
    with pytest.raises(CvBridgeError, match="specified as rgba8, but the image is 8UC3"):
        BRIDGE.cv2_to_imgmsg(filled("rgb8"), "rgba8")
    with pytest.raises(CvBridgeError, match="no image encoding for int64"):
        BRIDGE.cv2_to_imgmsg(np.zeros((2, 2), np.int64))
    with pytest.raises(CvBridgeError, match="is no image"):
        BRIDGE.cv2_to_imgmsg(np.zeros((0, 2), np.uint8))
    with pytest.raises(TypeError, match="expected a numpy array"):
        BRIDGE.cv2_to_imgmsg(1, "rgba8")


@pytest.mark.parametrize("extension", ["jpg", "png", "bmp", "tiff"])
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3)])
def test_compressed_images_keep_their_shape(extension, shape):
    original = image("uint8", shape)
    message = BRIDGE.cv2_to_compressed_imgmsg(original, extension)
    assert message.format == extension
    result = BRIDGE.compressed_imgmsg_to_cv2(message)
    assert (result.shape, result.dtype) == (original.shape, original.dtype)
    if extension != "jpg":
        np.testing.assert_array_equal(result, original)
    assert BRIDGE.compressed_imgmsg_to_cv2(message, "rgb8").shape == (40, 30, 3)


def test_damaged_compressed_images():
    for data in (b"", b"no image", BRIDGE.cv2_to_compressed_imgmsg(filled("bgr8")).data[:40]):
        with pytest.raises(CvBridgeError, match="OpenCV can decode"):
            BRIDGE.compressed_imgmsg_to_cv2(
                CompressedImage(format="jpg", data=array.array("B", data))
            )
    with pytest.raises(CvBridgeError, match="cannot encode"):
        BRIDGE.cv2_to_compressed_imgmsg(filled("bgr8"), "docx")


def test_display():
    labels = np.repeat(np.arange(-1, 12, dtype=np.int32), 4).reshape(13, 4)
    colors = cvtColorForDisplay(labels, "32SC1", "bgr8")
    assert (colors.dtype, colors.min(), colors.max()) == (np.uint8, 0, 255)
    assert len({tuple(row[0]) for row in colors}) == 13


def test_what_is_missing_names_the_real_package():
    with pytest.raises(ImportError, match="the package cv_bridge of ROS 2"):
        from cv_bridge import getCvType  # noqa: F401
    with pytest.raises(CvBridgeError, match="the package cv_bridge of ROS 2"):
        cvtColorForDisplay(np.zeros((2, 2), np.float32), "32FC1", "mono8")
