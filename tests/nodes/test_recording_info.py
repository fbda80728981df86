"""What a recording says of the stack, asked of nodes that run."""

import json

import pytest
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from multismolvla.nodes.parameters import ParameterError
from multismolvla.nodes.recording_info import RecordingInfo
from multismolvla.nodes.thermal_node import ThermalNode

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def given(text: str) -> list[Parameter]:
    return [Parameter("launch_arguments", value=text)]


def test_launch_arguments_streams_and_parameters_are_told_to_whoever_comes_late(graph):
    graph.add(ThermalNode(parameter_overrides=[Parameter("scale", value=0.04)]))
    graph.add(RecordingInfo(parameter_overrides=given('{"policy": "small", "task": "wave"}')))
    told = []
    graph.probe.create_subscription(
        String, "recording_info", lambda message: told.append(json.loads(message.data)), LATCHED
    )
    graph.spin_until(lambda: told and "/thermal_node" in told[-1]["parameters"])
    newest = told[-1]
    assert newest["launch_arguments"] == {"policy": "small", "task": "wave"}
    assert newest["parameters"]["/thermal_node"]["scale"] == 0.04
    assert "/recording_info" not in newest["parameters"]
    assert "name: wrist/depth" in newest["streams"] and newest["git_revision"]


@pytest.mark.parametrize("text", ["no json", "[1, 2]"])
def test_launch_arguments_that_are_none_are_refused(graph, text):
    with pytest.raises(ParameterError, match="expected a JSON object"):
        RecordingInfo(parameter_overrides=given(text))
