"""One decoder for every image that a camera may send: from messages to raw frames."""

import re
import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.modalities import compressed, rvl
from multismolvla.modalities.camera_image import raw_frame
from multismolvla.modalities.conversion import to_units
from multismolvla.modalities.depth import DEPTH
from multismolvla.modalities.rgb import RGB
from multismolvla.modalities.segmentation import SEGMENTATION
from multismolvla.modalities.thermal import THERMAL

# Smooth, so that what halves the resolution of its colours changes little.
ROWS, COLUMNS = np.mgrid[0:32, 0:48]
PICTURE = np.stack((60 + 3 * ROWS, 40 + 3 * COLUMNS, 200 - 2 * ROWS - COLUMNS), 2).astype(np.uint8)
COUNTS = (500 + 7 * ROWS + COLUMNS).astype(np.uint16)


def image(encoding, data, width=48, height=32, step=None, big_endian=0):
    data = np.ascontiguousarray(data)
    step = step or data[0].nbytes
    flat = data.reshape(-1).view(np.uint8)
    return SimpleNamespace(
        encoding=encoding,
        width=width,
        height=height,
        step=step,
        is_bigendian=big_endian,
        data=flat,
    )


def packed(format, frame, kind=".png", before=b""):
    ok, data = cv2.imencode(kind, frame)
    assert ok
    data = np.frombuffer(before + data.tobytes(), np.uint8)
    return SimpleNamespace(format=format, data=data)


def yuv(frame):
    """Planes of brightness and of colour, each (H, W), as OpenCV reads them back."""
    planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
    height, width = frame.shape[:2]
    bright = planes[:height]
    u, v = planes[height:].reshape(2, height // 2, width // 2)
    return bright, u, v


def interleaved(first, second):
    return np.stack((first, second), axis=2).reshape(len(first), -1)


def nv(order):
    bright, u, v = yuv(PICTURE)
    return np.concatenate((bright, interleaved(*((u, v) if order == "uv" else (v, u)))))


def pairs(order):
    bright, u, v = yuv(PICTURE)
    colour = np.stack((u, v), axis=2).repeat(2, axis=0).reshape(32, 48)
    return np.stack((bright, colour) if order == "y first" else (colour, bright), axis=2)


def nv24():
    bright, u, v = yuv(PICTURE)
    full = [plane.repeat(2, axis=0).repeat(2, axis=1) for plane in (u, v)]
    return np.concatenate((bright, interleaved(*full).reshape(64, 48)))


def mosaic(pattern):
    """Of each pixel the one colour that the pattern has there."""
    places = {"r": 0, "g": 1, "b": 2}
    frame = np.zeros((32, 48), np.uint8)
    for place, letter in enumerate(pattern):
        row, column = divmod(place, 2)
        frame[row::2, column::2] = PICTURE[row::2, column::2, places[letter]]
    return frame


ALPHA = np.full((32, 48, 1), 9, np.uint8)
COLOURS = {
    "rgb8": PICTURE,
    "bgr8": PICTURE[:, :, ::-1],
    "rgba8": np.dstack((PICTURE, ALPHA)),
    "bgra8": np.dstack((PICTURE[:, :, ::-1], ALPHA)),
    "rgb16": PICTURE.astype(np.uint16) * 257,
    "bgr16": PICTURE[:, :, ::-1].astype(np.uint16) * 257,
    "rgba16": np.dstack((PICTURE, ALPHA)).astype(np.uint16) * 257,
    "bgra16": np.dstack((PICTURE[:, :, ::-1], ALPHA)).astype(np.uint16) * 257,
}
ABOUT = {
    "uyvy": pairs("colour first"),
    "yuv422": pairs("colour first"),
    "yuyv": pairs("y first"),
    "yuv422_yuy2": pairs("y first"),
    "nv12": nv("uv"),
    "nv21": nv("vu"),
    "nv24": nv24(),
    **{f"bayer_{p}8": mosaic(p) for p in ("rggb", "bggr", "gbrg", "grbg")},
    **{f"bayer_{p}16": mosaic(p).astype(np.uint16) * 257 for p in ("rggb", "bggr", "gbrg", "grbg")},
}


@pytest.mark.parametrize("encoding", COLOURS)
def test_colours_in_any_order_and_depth_are_the_same_picture(encoding):
    np.testing.assert_array_equal(raw_frame(RGB, image(encoding, COLOURS[encoding])), PICTURE)


@pytest.mark.parametrize("encoding", ABOUT)
def test_colours_with_fewer_samples_are_about_the_same_picture(encoding):
    found = raw_frame(RGB, image(encoding, ABOUT[encoding]))
    assert (found.shape, found.dtype) == (PICTURE.shape, np.uint8)
    inside = np.s_[2:-2, 2:-2]
    assert np.abs(found[inside].astype(int) - PICTURE[inside]).max() <= 12


@pytest.mark.parametrize(
    ("encoding", "factor"), [("mono8", 1), ("8UC1", 1), ("8U", 1), ("mono16", 257)]
)
def test_grey_is_a_colour_picture_without_colour(encoding, factor):
    grey = PICTURE[:, :, 0].astype(np.uint16 if factor > 1 else np.uint8) * factor
    found = raw_frame(RGB, image(encoding, grey))
    np.testing.assert_array_equal(found, PICTURE[:, :, :1].repeat(3, axis=2))


@pytest.mark.parametrize("encoding", ["8UC3", "8UC4", "16UC3", "8UC2", "32FC3", "16UC1", "8SC1"])
def test_channels_without_a_meaning_are_no_colours_and_none_is_guessed(encoding):
    size, channels = re.fullmatch(r"(\d+)\D+(\d)", encoding).groups()
    data = np.zeros((32, 48, int(size) // 8 * int(channels)), np.uint8)
    with pytest.raises(ValueError, match=f"'{encoding}', which does not say what its channels are"):
        raw_frame(RGB, image(encoding, data))


@pytest.mark.parametrize("encoding", ["rgb8", "bgra16", "yuyv", "mono16", "nv12"])
@pytest.mark.parametrize("kind", [DEPTH, THERMAL, SEGMENTATION])
def test_a_picture_for_people_is_no_measurement(encoding, kind):
    if kind is SEGMENTATION or encoding != "mono16":
        data = {**COLOURS, **ABOUT, "mono16": COUNTS}[encoding]
        with pytest.raises(ValueError, match=f"encoding is '{encoding}'; expected "):
            raw_frame(kind, image(encoding, data))


@pytest.mark.parametrize("kind", [DEPTH, THERMAL])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16", "16U", "32FC1", "64FC1"])
def test_measurements_are_taken_as_they_are(kind, encoding):
    if encoding == "16U":
        pytest.skip("drivers write 16UC1")
    dtype = {"32FC1": np.float32, "64FC1": np.float64}.get(encoding, np.uint16)
    found = raw_frame(kind, image(encoding, COUNTS.astype(dtype)))
    np.testing.assert_array_equal(found, COUNTS)
    assert found.dtype == (np.uint16 if dtype == np.uint16 else np.float32)


@pytest.mark.parametrize("encoding", ["bgr8", "rgb16", "uyvy", "bayer_rggb8", "nv12"])
def test_rows_may_be_padded(encoding):
    data = {**COLOURS, **ABOUT}[encoding]
    rows = data.reshape(len(data), -1).view(np.uint8)
    wide = np.full((len(rows), rows.shape[1] + 16), 77, np.uint8)
    wide[:, : rows.shape[1]] = rows
    padded = image(encoding, wide, step=wide.shape[1])
    whole = raw_frame(RGB, image(encoding, data))
    np.testing.assert_array_equal(raw_frame(RGB, padded), whole)


@pytest.mark.parametrize(("kind", "encoding"), [(RGB, "rgb16"), (DEPTH, "16UC1"), (DEPTH, "32FC1")])
def test_the_byte_order_is_that_of_the_message(kind, encoding):
    data = COLOURS.get(encoding, COUNTS.astype(np.float32 if "F" in encoding else np.uint16))
    other = image(encoding, data.astype(data.dtype.newbyteorder(">")), big_endian=1)
    found = raw_frame(kind, other)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, raw_frame(kind, image(encoding, data)))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"step": 1}, "a row of 48 pixels has 144 bytes"),
        ({"step": 96}, "a row of 48 pixels has 144 bytes"),
        ({"width": 0}, "it has no pixels"),
        ({"height": 33}, "it is truncated"),
        ({"encoding": "jpeg"}, "encoding is 'jpeg'; expected one of sensor_msgs"),
        ({"encoding": ""}, "encoding is ''"),
        ({"encoding": "rgb\n8"}, "encoding is 'rgb 8'"),
        ({"encoding": "yuyv", "width": 47}, "expected an even width"),
        ({"encoding": "nv12", "width": 47}, "expected even sizes"),
        ({"encoding": "nv24", "width": 46}, "expected rows without padding"),
    ],
)
def test_an_image_that_contradicts_itself_is_refused_in_one_line(changes, complaint):
    message = image("rgb8", PICTURE)
    vars(message).update(changes)
    with pytest.raises(ValueError, match=complaint) as caught:
        raw_frame(RGB, message)
    assert "\n" not in str(caught.value)


def test_messages_made_by_hand_may_carry_lists_and_more_bytes_than_they_need():
    message = image("rgb8", PICTURE)
    message.data = [*PICTURE.reshape(-1).tolist(), 1, 2, 3]
    np.testing.assert_array_equal(raw_frame(RGB, message), PICTURE)


BGR = PICTURE[:, :, ::-1]


@pytest.mark.parametrize(
    ("format", "frame"),
    [
        ("png", BGR),
        ("rgb8; png compressed bgr8", BGR),
        ("bgr8; png compressed bgr8", BGR),
        # The encoder was given red where it expects blue, and says so.
        ("rgb8; png compressed rgb8", PICTURE),
        ("yuv422_yuy2; png compressed bgr8", BGR),
        ("rgba8; png compressed bgra8", np.dstack((BGR, ALPHA))),
        ("rgb16; png compressed bgr16", BGR.astype(np.uint16) * 257),
    ],
)
def test_a_compressed_picture_is_the_one_that_was_compressed(format, frame):
    np.testing.assert_array_equal(raw_frame(RGB, packed(format, frame)), PICTURE)


@pytest.mark.parametrize("format", ["jpeg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed"])
def test_a_jpeg_is_about_the_picture(format):
    found = raw_frame(RGB, packed(format, BGR, ".jpg"))
    assert np.abs(found.astype(int) - PICTURE).mean() < 3


def test_a_grey_jpeg_is_a_picture_and_a_compressed_bayer_pattern_becomes_colours():
    grey = PICTURE[:, :, 0]
    found = raw_frame(RGB, packed("mono8; jpeg compressed ", grey, ".jpg"))
    assert found.shape == PICTURE.shape and np.abs(found[:, :, 0].astype(int) - grey).max() < 8
    pattern = ABOUT["bayer_gbrg8"]
    found = raw_frame(RGB, packed("bayer_gbrg8; png compressed ", pattern))
    np.testing.assert_array_equal(found, raw_frame(RGB, image("bayer_gbrg8", pattern)))


@pytest.mark.parametrize("kind", [DEPTH, THERMAL])
def test_a_png_of_16_bits_keeps_them(kind):
    np.testing.assert_array_equal(raw_frame(kind, packed("16UC1; png compressed ", COUNTS)), COUNTS)


@pytest.mark.parametrize("kind", [DEPTH, THERMAL, SEGMENTATION])
def test_a_jpeg_is_no_measurement_and_no_labels(kind):
    with pytest.raises(ValueError, match="a JPEG is a picture for people and holds no") as caught:
        raw_frame(kind, packed("jpeg", COUNTS.astype(np.uint8), ".jpg"))
    assert ("compressedDepth" in str(caught.value)) == (kind is DEPTH)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_half_a_picture_is_none(suffix, share):
    """OpenCV fills up what is missing with grey."""
    noisy = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    message = packed(suffix, noisy, suffix)
    message.data = message.data[: int(share * len(message.data))]
    with pytest.raises(ValueError, match=r"truncated|cannot decode"):
        raw_frame(RGB, message)


def test_a_jpeg_may_be_padded_with_zeros():
    message = packed("jpeg", BGR, ".jpg")
    message.data = np.concatenate((message.data, np.zeros(500, np.uint8)))
    assert raw_frame(RGB, message).shape == PICTURE.shape


def test_a_film_and_garbage_are_refused_in_one_line():
    for format, data, complaint in (
        ("h264", b"\0\0\0\1gP", "format is 'h264', a film"),
        ("jpeg", b"garbage", "cannot decode a compressed image of the format 'jpeg'"),
        ("jpeg", b"", "cannot decode"),
        ("j\npeg", b"garbage", "of the format 'j peg'"),
    ):
        message = SimpleNamespace(format=format, data=np.frombuffer(data, np.uint8))
        with pytest.raises(ValueError, match=complaint) as caught:
            raw_frame(RGB, message)
        assert "\n" not in str(caught.value)


# compressedDepth.

HEADER = struct.pack("<iff", 0, 0.0, 0.0)


@pytest.mark.parametrize(
    "format", ["16UC1; compressedDepth png", "16UC1; compressedDepth", "16UC1; compressedDepth "]
)
def test_compressed_depth_of_16_bits_is_what_was_compressed(format):
    message = packed(format, COUNTS, before=HEADER)
    np.testing.assert_array_equal(raw_frame(DEPTH, message), COUNTS)


def quantised(metres, finest=100.0, farthest=10.0):
    """As compressed_depth_image_transport does it, with its defaults."""
    a = finest * (finest + 1.0)
    b = 1.0 - a / farthest
    with np.errstate(invalid="ignore", divide="ignore"):
        inverse = np.where(metres < farthest, a / metres + b, 0.0)
    return struct.pack("<iff", 0, a, b), inverse.astype(np.uint16)


@pytest.mark.parametrize("compression", ["png", "rvl"])
def test_compressed_depth_of_floats_comes_back_with_its_gaps(compression):
    metres = COUNTS.astype(np.float32) * np.float32(1e-3)
    metres[3, 4], metres[5, 6] = np.nan, 12.0
    header, inverse = quantised(metres)
    if compression == "png":
        message = packed("32FC1; compressedDepth png", inverse, before=header)
    else:
        data = header + struct.pack("<II", 48, 32) + rvl_bytes(inverse.reshape(-1).tolist())
        format = "32FC1; compressedDepth rvl"
        message = SimpleNamespace(format=format, data=np.frombuffer(data, np.uint8))
    found = to_units(DEPTH, raw_frame(DEPTH, message))
    assert np.isnan(found[3, 4]) and np.isnan(found[5, 6]) and np.isnan(found).sum() == 2
    np.testing.assert_allclose(found[found > 0], metres[found > 0], rtol=2e-3)


def rvl_bytes(values):
    """The encoder of the paper, one number after the other."""
    groups = []

    def put(number):
        while True:
            number, low = number >> 3, number & 7
            groups.append(low | (8 if number else 0))
            if not number:
                return

    at = last = 0
    while at < len(values):
        zeros = next((n for n, v in enumerate(values[at:]) if v), len(values) - at)
        at += zeros
        run = next((n for n, v in enumerate(values[at:]) if not v), len(values) - at)
        put(zeros)
        put(run)
        for value in values[at : at + run]:
            step, last = value - last, value
            put((step << 1) ^ (step >> 31))
        at += run
    groups += [0] * (-len(groups) % 8)
    words = [groups[n : n + 8] for n in range(0, len(groups), 8)]
    return b"".join(
        struct.pack("<I", int("".join(f"{group:x}" for group in word), 16)) for word in words
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.just(0), st.integers(0, 65535)), min_size=1, max_size=60))
def test_rvl_comes_back(values):
    data = np.frombuffer(rvl_bytes(values), np.uint8)
    np.testing.assert_array_equal(rvl.decompress(data, len(values)), values)
    with pytest.raises(ValueError, match="RVL"):
        rvl.decompress(data[: len(data) // 2 // 4 * 4], len(values) + 400)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 500))
def test_garbage_for_rvl_ends_in_one_line(data, count):
    try:
        assert len(rvl.decompress(np.frombuffer(data, np.uint8), count)) == count
    except ValueError as error:
        assert str(error).startswith("RVL") and "\n" not in str(error)


@pytest.mark.parametrize(
    ("format", "data", "complaint"),
    [
        ("16UC1; compressedDepth png", b"\0" * 12, "compressedDepth of 12 bytes: it is truncated"),
        ("16UC1; compressedDepth zstd", b"\0" * 40, "compressedDepth is 'zstd'; expected png or"),
        ("16UC1; compressedDepth rvl", b"\0" * 16, "rvl of 16 bytes: it is truncated"),
        ("16UC1; compressedDepth rvl", b"\xff" * 30, "RVL of .* pixels; expected"),
        ("16UC1; compressedDepth png", b"\0" * 40, "cannot decode"),
    ],
)
def test_compressed_depth_that_is_damaged_is_refused_in_one_line(format, data, complaint):
    message = SimpleNamespace(format=format, data=np.frombuffer(data, np.uint8))
    with pytest.raises(ValueError, match=complaint) as caught:
        raw_frame(DEPTH, message)
    assert "\n" not in str(caught.value)


def test_compressed_depth_of_the_wrong_numbers_is_refused():
    message = packed("16UC1; compressedDepth png", COUNTS.astype(np.uint8), before=HEADER)
    with pytest.raises(ValueError, match="expected 16 bits of grey"):
        raw_frame(DEPTH, message)
    message = packed("32FC1; compressedDepth png", COUNTS, before=HEADER)
    with pytest.raises(ValueError, match="quantised by 0 and 0; expected a positive number"):
        raw_frame(DEPTH, message)
    assert compressed.DEPTH == "compressedDepth"
