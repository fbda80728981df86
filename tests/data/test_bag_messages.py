"""Messages as a bag has them, and what is read out of those of other stacks."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_recording import at, image, png, scene, status, write_recording

from multismolvla.data import bag_messages as messages
from multismolvla.data.bag import find_episodes, is_episode
from multismolvla.data.recorded_bag import open_bag
from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.camera_image import numbers, raw_frame
from multismolvla.modalities.registry import modality_of

TYPES = messages.typestore().types


def read(data, type_name=messages.IMAGE):
    return messages.typestore().deserialize_cdr(data, type_name)


@pytest.mark.parametrize("kind", ["rgb", "depth", "thermal", "segmentation"])
def test_a_stored_frame_comes_back(kind):
    frame = scene(kind, 3)
    message = read(messages.image(f"wrist/{kind}", at(5.0), frame))
    assert messages.stamp_of(message.header) == at(5.0)
    assert message.header.frame_id == "wrist_camera_optical_frame"
    np.testing.assert_array_equal(raw_frame(modality_of(kind), message), frame)


@pytest.mark.parametrize("kind", ["depth", "thermal"])
def test_a_frame_in_si_units_keeps_its_floats_and_its_gaps(kind):
    frame = np.array([[0.5, np.nan], [1.25, 2.0]], np.float32)
    message = read(messages.image(kind, 0, frame))
    assert message.encoding == "32FC1"
    np.testing.assert_array_equal(numbers(message), frame)


@pytest.mark.parametrize(
    ("encoding", "order"),
    [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 0]), ("bgra8", [2, 1, 0, 0])],
)
def test_colours_come_in_any_order_with_alpha_or_without(encoding, order):
    frame = scene("rgb", 1)
    message = read(image(1.0, frame[:, :, order], encoding))
    np.testing.assert_array_equal(raw_frame(modality_of("rgb"), message), frame)


def test_grey_is_a_colour_image_for_a_colour_camera_alone():
    grey = scene("segmentation", 0)
    message = read(image(1.0, grey))
    assert raw_frame(modality_of("rgb"), message).shape == (*grey.shape, 3)
    np.testing.assert_array_equal(raw_frame(modality_of("segmentation"), message), grey)


def test_rows_may_be_padded_and_bytes_in_the_other_order():
    counts = np.arange(6, dtype=np.uint16).reshape(2, 3) * 300
    padded = np.zeros((2, 8), np.uint8)
    padded[:, :6] = counts.astype(">u2").view(np.uint8)
    message = TYPES[messages.IMAGE](messages.header(0), 2, 3, "mono16", 1, 8, padded.reshape(-1))
    found = numbers(message)
    np.testing.assert_array_equal(found, counts)
    assert found.dtype.isnative


@given(st.integers(0, 3 * 4 * 6 - 1))
def test_an_image_with_fewer_bytes_than_its_size_is_refused(left):
    data = np.zeros(left, np.uint8)
    message = TYPES[messages.IMAGE](messages.header(0), 4, 6, "rgb8", 0, 18, data)
    with pytest.raises(ValueError, match=r"image is 6x4, step 18, but holds .* it is truncated"):
        numbers(message)


def test_a_row_that_is_longer_than_the_step_and_an_unknown_encoding_are_refused():
    data = np.zeros(100, np.uint8)
    for encoding, step, complaint in (
        ("rgb8", 17, "a row of 6 pixels has 18 bytes"),
        ("jpeg", 18, "'jpeg'"),
    ):
        message = TYPES[messages.IMAGE](messages.header(0), 4, 6, encoding, 0, step, data)
        with pytest.raises(ValueError, match=complaint):
            numbers(message)


def test_compressed_images_keep_16_bits_and_drop_alpha():
    counts = scene("thermal", 0)
    message = read(png(1.0, counts), messages.COMPRESSED_IMAGE)
    np.testing.assert_array_equal(raw_frame(modality_of("thermal"), message), counts)
    bgra = np.dstack([scene("rgb", 0)[:, :, ::-1], np.full((48, 48), 9, np.uint8)])
    data = cv2.imencode(".png", bgra)[1].reshape(-1)
    message = TYPES[messages.COMPRESSED_IMAGE](messages.header(0), "png", data)
    found = raw_frame(modality_of("rgb"), message)
    np.testing.assert_array_equal(found, scene("rgb", 0))


def test_joints_come_in_our_order_whatever_theirs_is_and_a_missing_one_is_nan():
    names = list(reversed(SO101.joint_names))
    positions = np.arange(6.0)
    message = TYPES[messages.JOINT_STATE](
        messages.header(0), names[:5], positions[:5], np.zeros(0), np.zeros(0)
    )
    found = messages.joint_positions(message, SO101.joint_names)
    np.testing.assert_array_equal(found, [np.nan, 4.0, 3.0, 2.0, 1.0, 0.0])
    ours = read(messages.joint_state(at(1.0), SO101.joint_names, positions), messages.JOINT_STATE)
    np.testing.assert_array_equal(messages.joint_positions(ours, SO101.joint_names), positions)


def test_points_of_a_trajectory_count_from_its_stamp_or_from_its_arrival():
    offsets_ns = np.array([0, 33_333_333, 2 * 10**9])
    targets = np.arange(18.0).reshape(3, 6)
    for stamp_ns, start_ns in ((at(3.0), at(3.0)), (0, at(7.0))):
        data = messages.trajectory(stamp_ns, SO101.joint_names, offsets_ns, targets)
        times_ns, found = messages.points(
            read(data, messages.TRAJECTORY), at(7.0), SO101.joint_names
        )
        np.testing.assert_array_equal(times_ns, start_ns + offsets_ns)
        np.testing.assert_array_equal(found, targets)


def test_values_are_those_of_the_first_status_and_none_without_one():
    message = read(status(1.0, "OK"), messages.STATUS)
    assert messages.status_values(message)["state"] == "OK"
    empty = TYPES[messages.STATUS](messages.header(0), [])
    assert messages.status_values(empty) == {}


def test_messages_that_are_damaged_are_left_out_of_a_topic(tmp_path):
    whole = messages.text("whole")
    entries = [(1.0, "/task", messages.STRING, whole), (2.0, "/task", messages.STRING, whole[:6])]
    bag = open_bag(write_recording(tmp_path / "bag", [*entries, (3.0, *entries[0][1:])]))
    found = [message.data for _, _, message in messages.decoded(bag, "/task", "/nothing")]
    assert found == ["whole", "whole"]


def test_bags_are_found_finished_or_cut_off_and_hidden_ones_are_not(tmp_path):
    whole = write_recording(tmp_path / "day" / "b", [(1.0, "/task", messages.STRING, b"x" * 16)])
    data = (whole / "b.mcap").read_bytes()
    for name in ("day/a", "day/.writing-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bag_0.mcap").write_bytes(data[:100])
    assert find_episodes(tmp_path) == [tmp_path / "day" / "a", whole]
    assert not any(is_episode(bag) for bag in find_episodes(tmp_path))
