"""Every node's parameters: answered for, described, ranged, and the same in docs and config."""

import re
from functools import partial
from pathlib import Path

import pytest
import yaml
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import DescribeParameters, ListParameters
from rclpy.parameter import Parameter
from test_libero_node import FakeWorld

from multismolvla.nodes.depth_node import DepthNode
from multismolvla.nodes.libero_node import LiberoNode
from multismolvla.nodes.monitor_node import MonitorNode
from multismolvla.nodes.policy_node import PolicyNode
from multismolvla.nodes.recording_info import RecordingInfo
from multismolvla.nodes.rgb_node import RgbNode
from multismolvla.nodes.segmentation_node import SegmentationNode
from multismolvla.nodes.sim_node import SimNode
from multismolvla.nodes.so101_driver import SO101Driver
from multismolvla.nodes.tf_broadcaster import TfBroadcaster
from multismolvla.nodes.thermal_node import ThermalNode
from multismolvla.nodes.web_monitor import WebMonitor

NODES = {
    "rgb_node": RgbNode,
    "depth_node": DepthNode,
    "thermal_node": ThermalNode,
    "segmentation_node": SegmentationNode,
    "policy_node": PolicyNode,
    "so101_driver": SO101Driver,
    "sim_node": SimNode,
    "libero_node": partial(LiberoNode, FakeWorld),
    "monitor_node": MonitorNode,
    "web_monitor": WebMonitor,
    "recording_info": RecordingInfo,
    "tf_broadcaster": TfBroadcaster,
}
URDF = str(Path(__file__).parents[2] / "urdf" / "so101.urdf")
# The driver would reach for a serial port, the page for one that is taken.
OVERRIDES = {
    "so101_driver": [Parameter("autostart", value=False)],
    "web_monitor": [Parameter("port", value=0)],
    "tf_broadcaster": [Parameter("urdf", value=URDF)],
}
# Declared by rclpy itself.
OWN = {"use_sim_time", "start_type_description_service"}
NUMBERS = (ParameterType.PARAMETER_INTEGER, ParameterType.PARAMETER_DOUBLE)


@pytest.fixture(params=NODES)
def described(graph, request):
    """(name, node, parameter -> descriptor) of a node, asked for as `ros2 param` does."""
    name = request.param
    if name == "web_monitor":
        pytest.importorskip("viser")
    node = graph.add(NODES[name](parameter_overrides=OVERRIDES.get(name, [])))
    try:
        # `libero_node` is a `sim_node` to all others.
        called = node.get_name()
        listed = graph.call(ListParameters, f"{called}/list_parameters").result.names
        names = [n for n in listed if n not in OWN and not n.startswith("qos_overrides.")]
        request = DescribeParameters.Request(names=names)
        answer = graph.call(DescribeParameters, f"{called}/describe_parameters", request)
        yield name, node, {d.name: d for d in answer.descriptors}
    finally:
        if hasattr(node, "close"):
            node.close()


def test_parameters_are_described_and_agree_with_the_page_and_the_configuration(described, request):
    name, node, descriptors = described
    overridden = {given.name for given in OVERRIDES.get(name, [])}
    for parameter, descriptor in descriptors.items():
        assert descriptor.description, parameter
        if descriptor.type in NUMBERS and not descriptor.dynamic_typing:
            assert descriptor.floating_point_range or descriptor.integer_range, parameter

    page = (request.config.rootpath / "docs" / "nodes" / f"{name}.md").read_text()
    table = re.split(r"^## .*arameters$", page, flags=re.M)[-1].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, flags=re.M))
    assert set(rows) == set(descriptors)
    for parameter, told in rows.items():
        if parameter in overridden:
            continue
        value = node.get_parameter(parameter).value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            assert float(told) == value, parameter

    folder = request.config.rootpath / "config"
    config = folder / ("libero" if name == "libero_node" else "") / f"{name}.yaml"
    shipped = yaml.safe_load(config.read_text())["/**"]["ros__parameters"]
    assert set(shipped) <= set(descriptors)
    for parameter, value in shipped.items():
        if parameter not in overridden:
            assert value == node.get_parameter(parameter).value, parameter
