"""A node that is launched with the files of a folder declares what `load_settings` reads there."""

import pytest
import yaml

from multismolvla.nodes.depth_node import DepthNode
from multismolvla.nodes.policy_node import PolicyNode
from multismolvla.nodes.rgb_node import RgbNode
from multismolvla.nodes.segmentation_node import SegmentationNode
from multismolvla.nodes.so101_driver import SO101Driver
from multismolvla.nodes.thermal_node import ThermalNode
from multismolvla.setting import settings_of
from multismolvla.stack.settings import StackSettings, load_settings

# One value of each section that is not the default.
CHANGED = {
    "rgb_node": {"black_below": 20.0, "recovery_frames": 7},
    "depth_node": {"raw_unit_m": 0.0001, "gap_share": 0.7},
    "thermal_node": {"scale": 0.04, "offset": -100.0, "maximum": 150.0},
    "segmentation_node": {"backend": "ground_truth", "max_wait_s": 0.05, "soft_frames": 9},
    "policy_node": {
        "policy": "expert",
        "queue_threshold": "auto",
        "slop_s": 0.02,
        "realtime": False,
    },
    "so101_driver": {"autostart": False, "max_velocity_rad_s": 2.0},
}
NODES = {
    "rgb_node": RgbNode,
    "depth_node": DepthNode,
    "thermal_node": ThermalNode,
    "segmentation_node": SegmentationNode,
    "policy_node": PolicyNode,
    "so101_driver": SO101Driver,
}


@pytest.fixture
def folder(tmp_path):
    for name, values in CHANGED.items():
        content = {"/**": {"ros__parameters": values}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def sections(settings: StackSettings, name: str) -> list[object]:
    """The settings that belong to a node."""
    if name == "policy_node":
        return [settings.policy]
    if name == "so101_driver":
        return [settings.driver]
    kind = name.removesuffix("_node")
    both = [settings.thresholds[kind], settings.counts[kind]]
    return [*both, settings.labeller] if kind == "segmentation" else both


@pytest.mark.parametrize("name", NODES)
def test_a_launched_node_has_the_settings_that_are_loaded(graph, folder, name):
    file = folder / f"{name}.yaml"
    node = graph.add(NODES[name](cli_args=["--ros-args", "--params-file", str(file)]))
    loaded = {
        item.name: item.default
        for section in sections(load_settings(folder), name)
        for item in settings_of(section)
    }
    declared = {key: node.get_parameter(key).value for key in loaded}
    if name == "policy_node":
        # Kept as it was given; None is what it means.
        assert (declared.pop("queue_threshold"), loaded.pop("queue_threshold")) == ("auto", None)
    assert declared == loaded
    assert CHANGED[name].items() <= {**declared, "queue_threshold": "auto"}.items()
