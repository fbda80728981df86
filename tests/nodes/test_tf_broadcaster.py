"""Poses of the arm's frames on a real graph, and TF where its messages are installed."""

from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.nodes import tf_broadcaster
from multismolvla.nodes.tf_broadcaster import TfBroadcaster

URDF = Path(__file__).parents[2] / "urdf" / "so101.urdf"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def broadcaster(**parameters):
    given = {"urdf": str(URDF), **parameters}
    return TfBroadcaster(parameter_overrides=[Parameter(k, value=v) for k, v in given.items()])


def joint_states(positions, stamp_s=1, **other):
    message = JointState(**{"name": list(SO101.joint_names), "position": positions} | other)
    message.header.stamp.sec = stamp_s
    return message


def test_the_gripper_is_where_the_kinematics_have_it_and_the_camera_is_latched(graph):
    graph.add(broadcaster())
    grips, tops = [], []
    graph.probe.create_subscription(PoseStamped, "poses/grip", grips.append, 10)
    # Long after it was sent.
    camera = "top_camera_optical_frame"
    graph.probe.create_subscription(PoseStamped, f"poses/{camera}", tops.append, LATCHED)
    joints = graph.probe.create_publisher(JointState, "joint_states", 1)
    angles = [0.1, -0.4, 0.3, 0.2, -0.1, 0.5]

    def seen():
        joints.publish(joint_states(angles))
        return grips and tops

    graph.spin_until(seen)
    position, _ = KINEMATICS.forward(np.array(angles))
    found = grips[0].pose.position
    np.testing.assert_allclose([found.x, found.y, found.z], position, atol=1e-6)
    assert grips[0].header.frame_id == tops[0].header.frame_id == "base_link"
    assert grips[0].header.stamp.sec == 1


class Output(list):
    """In place of a publisher."""

    publish = list.append


@pytest.fixture
def poses(graph):
    node = graph.add(broadcaster(max_rate_hz=2.0))
    node._outputs["grip"] = Output()
    return node, node._outputs["grip"]


def test_joint_states_faster_than_the_rate_are_skipped_and_a_clock_may_jump_back(poses):
    node, sent = poses
    for stamp_s in (10, 10, 11, 3, 3):
        node._on_joint_states(joint_states([0.0] * 6, stamp_s))
    assert [pose.header.stamp.sec for pose in sent] == [10, 11, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": []},
        {"name": ["a", "b"]},
        {"position": []},
        {"position": [float("nan")] * 6},
        {"position": [0.0, float("inf"), 0.0, 0.0, 0.0, 0.0]},
    ],
)
def test_what_is_not_a_pose_of_the_arm_is_no_pose(poses, wrong):
    node, sent = poses
    node._on_joint_states(joint_states([0.0] * 6, **wrong))
    assert not sent


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"urdf": ""}, "parameter 'urdf' is missing"),
        ({"urdf": "/none.urdf"}, "/none.urdf: cannot read it"),
        ({"poses": ["lens"]}, "parameter 'poses' names 'lens'"),
        ({"max_rate_hz": 0.0}, "parameter 'max_rate_hz'"),
    ],
)
def test_a_wrong_parameter_is_one_line(graph, given, said):
    with pytest.raises(ValueError, match=said) as caught:
        broadcaster(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(tf_broadcaster.TFMessage is None, reason="the wheels have no tf2_msgs")
def test_tf_holds_every_joint(graph):
    node = graph.add(broadcaster())
    node._tf = Output()
    node._on_joint_states(joint_states([0.0] * 6))
    (message,) = node._tf
    assert len(message.transforms) == len(SO101.joint_names)
