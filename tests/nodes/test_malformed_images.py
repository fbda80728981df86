"""No node reads images through cv_bridge: its answer to malformed ones is not the same everywhere.

Jazzy's takes a row for as long as its step says and converts what is left of the picture: it
gives None or a narrow picture and raises nothing. The stand-in raises.
"""

from __future__ import annotations

import array
import time
from types import SimpleNamespace

import numpy as np
import pytest
from cv_bridge import CvBridge
from sensor_msgs.msg import CameraInfo, Image

from multismolvla.modalities.registry import find_modality
from multismolvla.nodes.camera_pictures import CameraPictures
from multismolvla.nodes.damaged_messages import DamagedMessages
from multismolvla.nodes.depth_cloud import DepthCloud
from multismolvla.nodes.policy_inputs import PolicyInputs
from multismolvla.nodes.rgb_node import RgbNode
from multismolvla.nodes.stack_watch import StackWatch

BYTES = {"rgb8": 3, "32FC1": 4, "16UC1": 2, "mono8": 1}


def upstream(bridge: CvBridge, message: Image, desired_encoding: str = "passthrough"):
    """What Jazzy's `imgmsg_to_cv2` answers: as little is checked."""
    columns = message.step // BYTES[message.encoding]
    pixels = np.zeros((message.height, min(columns, message.width), 3), np.uint8)
    return pixels if desired_encoding == "passthrough" or columns else None


@pytest.fixture(autouse=True)
def as_upstream(monkeypatch):
    monkeypatch.setattr(CvBridge, "imgmsg_to_cv2", upstream)


def image(encoding: str, step: int) -> Image:
    """96 x 96 with the bytes that the right step needs."""
    data = array.array("B", bytes(96 * 96 * BYTES[encoding]))
    message = Image(width=96, height=96, encoding=encoding, step=step, data=data)
    message.header.frame_id = "camera"
    return message


def steps(encoding: str) -> list[int]:
    row = 96 * BYTES[encoding]
    return [0, 1, row // 3, row - 1]


RGB = [image("rgb8", step) for step in steps("rgb8")]
STREAM = SimpleNamespace(name="rgb", modality=find_modality("rgb"))
ids = [f"step {message.step}" for message in RGB]


@pytest.mark.parametrize("message", RGB, ids=ids)
def test_a_sensor_node_refuses_it_and_lives(graph, message):
    node = graph.add(RgbNode())
    node._on_image(message, 0)
    report = node._pipe.health.report(0)
    assert (report.frames, "invalid" in report.reasons) == (1, True)


@pytest.mark.parametrize("encoding", ["rgb8", "16UC1", "32FC1"])
def test_the_fault_injector_refuses_it(encoding):
    kind = "rgb" if encoding == "rgb8" else "depth"
    for step in steps(encoding):
        with pytest.raises(ValueError, match="step"):
            DamagedMessages().take(kind, image(encoding, step), 0)


@pytest.mark.parametrize("message", RGB, ids=ids)
def test_it_is_no_frame_to_the_policy_the_page_and_the_demo(message):
    assert PolicyInputs._frame(None, STREAM, message) is None
    pictures = SimpleNamespace(_newest={"rgb": (time.monotonic(), message)})
    assert CameraPictures._frame(pictures, STREAM) is None
    said = []
    logger = SimpleNamespace(warning=said.append)
    watch = SimpleNamespace(
        images={"rgb": message}, _node=SimpleNamespace(get_logger=lambda: logger)
    )
    assert StackWatch.frames(watch) == {}
    assert len(said) == 1 and said[0].startswith("rgb: ") and "\n" not in said[0]


@pytest.mark.parametrize("step", steps("32FC1"))
def test_it_becomes_no_points(graph, step):
    cloud = DepthCloud(graph.probe, "depth", 1)
    cloud._on_info(CameraInfo(width=96, height=96))
    with pytest.raises(ValueError, match="step"):
        cloud._on_image(image("32FC1", step))
