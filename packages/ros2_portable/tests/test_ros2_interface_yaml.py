"""Messages as YAML: round trips, abbreviations and values that do not fit."""

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, Vector3
from hypothesis import given, settings
from hypothesis import strategies as st
from ros2cli.cli import CommandError
from ros2cli.interface_yaml import from_yaml, select_field, to_plain, to_yaml
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String, UInt8MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50, deadline=None)
@given(
    text=st.text(max_size=20),
    values=st.lists(FLOATS, max_size=5),
    nanosec=st.integers(0, 2**32 - 1),
)
def test_messages_survive_the_round_trip(text, values, nanosec):
    message = JointTrajectory(joint_names=[text])
    message.header.stamp.nanosec = nanosec
    message.points = [JointTrajectoryPoint(positions=values), JointTrajectoryPoint()]
    assert from_yaml(to_yaml(to_plain(message)), JointTrajectory) == message
    info = CameraInfo(k=np.resize(values or [0.0], 9), distortion_model=text)
    again = from_yaml(to_yaml(to_plain(info)), CameraInfo)
    np.testing.assert_array_equal(again.k, info.k)
    assert again.distortion_model == text


@pytest.mark.parametrize("level", [b"\0", b"\2", b"\xff"])
def test_a_byte_is_a_short_text(level):
    text = to_yaml(to_plain(DiagnosticStatus(level=level)))
    assert "binary" not in text
    assert from_yaml(text, DiagnosticStatus).level == level
    assert from_yaml(f"{{level: {level[0]}}}", DiagnosticStatus).level == level


def test_whole_numbers_become_floats():
    assert from_yaml("{x: 1}", Vector3) == Vector3(x=1.0)
    trajectory = from_yaml("{points: [{positions: [1, 2]}]}", JointTrajectory)
    assert trajectory.points[0].positions.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{header: {stamp: {sec: x}}}", "'sec' field must be of type 'int'"),
        ("{header: {stamp: {nanosec: -1}}}", "'nanosec' field must be an unsigned integer"),
        ("{pose: {position: {x: far}}}", "could not convert string to float"),
        ("{pose: 3}", "expected {field: value} for Pose, got 3"),
        ("{poses: {}}", "PoseStamped has no field 'poses'; it has header, pose"),
    ],
)
def test_values_that_do_not_fit(text, reason):
    with pytest.raises(CommandError, match=reason):
        from_yaml(text, PoseStamped)


def test_long_values_are_cut():
    data = UInt8MultiArray(data=bytes(range(10)))
    assert to_plain(data, 3)["data"] == [0, 1, 2, "..."]
    assert to_plain(data, 10)["data"] == list(range(10))
    assert to_plain(data, None, no_arr=True)["data"] == "<sequence type: uint8, length: 10>"
    assert to_plain(CameraInfo(), no_arr=True)["k"] == "<array type: double[9]>"
    assert to_plain(String(data="abcdef"), 3) == {"data": "abc..."}
    assert yaml.safe_load(to_yaml(to_plain(String(data="a: b")))) == {"data": "a: b"}


def test_fields():
    message = JointTrajectory(joint_names=["pan", "lift"])
    message.header.stamp.sec = 5
    assert select_field(message, "header.stamp.sec") == 5
    assert select_field(message, "joint_names[1]") == "lift"
    assert select_field(message, "") is message
    for path in ("joint_names[2]", "header.time", "header.stamp.sec.x"):
        with pytest.raises(CommandError, match="JointTrajectory has no field"):
            select_field(message, path)
