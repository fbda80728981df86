"""Where the bring-up sends raw topics, with the fault injector and without it."""

import runpy
from pathlib import Path

import pytest
from launch import LaunchContext

BRINGUP = Path(__file__).parents[1] / "launch" / "bringup.launch.py"


@pytest.fixture(scope="module")
def bringup():
    return runpy.run_path(str(BRINGUP))


def text(substitution, **given: str) -> str:
    context = LaunchContext()
    context.launch_configurations.update({"faults": "", "rgb_topic": "camera/color", **given})
    return substitution.perform(context)


def test_without_faults_sensor_nodes_listen_to_the_cameras(bringup):
    listened = bringup["if_faults"]("rgb/faulty/image_raw", bringup["raw_topic"]("", "rgb"))
    assert text(listened) == "camera/color"
    for faults in ("live", "config/faults/rgb_loss.yaml"):
        assert text(listened, faults=faults) == "rgb/faulty/image_raw"


@pytest.mark.parametrize(
    ("topic", "expected"),
    [("rgb/image_raw", "wrist/rgb/image_raw"), ("/other/camera", "/other/camera")],
)
def test_the_injector_listens_to_what_the_wrist_nodes_would(bringup, topic, expected):
    heard = bringup["inside"]("wrist", bringup["raw_topic"]("wrist", "rgb"))
    assert text(heard, wrist_rgb_topic=topic) == expected
