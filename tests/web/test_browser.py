"""The page in a headless Chromium, over a running injector and sensor node."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from cv_bridge import CvBridge
from headless_chromium import find_chromium, open_tab
from patience import HANG_S
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from multismolvla.nodes.fault_injector import FaultInjector
from multismolvla.nodes.rgb_node import RgbNode
from multismolvla.nodes.web_monitor import WebMonitor

ROOT = Path(__file__).parents[2]
RATE_HZ = 15.0
# Nominal, so low that the camera is late on no machine.
SLOW_HZ = 1.0
# Brightness of the middle of the RGB picture, 0 to 255; -1 while there is none.
BRIGHTNESS = """
(() => {
  const picture = [...document.images].find(image => image.naturalWidth > 300);
  if (!picture) return -1;
  const canvas = document.createElement('canvas');
  canvas.width = picture.naturalWidth; canvas.height = picture.naturalHeight;
  const context = canvas.getContext('2d');
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(60, 50, 60, 30).data;
  return pixels.filter((_, i) => i % 4 < 3).reduce((a, b) => a + b) / (pixels.length * 3 / 4);
})()
"""
RGB_STATE = "document.querySelector('[data-stream=\"rgb\"]')?.dataset.state"


@pytest.fixture
def stack(tmp_path):
    """Camera, injector, sensor node and page, all on one executor; yields (page, spin)."""
    pytest.importorskip("viser", reason="viser is not installed: requirements/web.txt")
    if find_chromium() is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    rclpy.init()
    executor = SingleThreadedExecutor()
    content = yaml.safe_load((ROOT / "config" / "streams.yaml").read_text())
    for stream in content["streams"]:
        stream["rate_hz"] = SLOW_HZ
    table = tmp_path / "streams.yaml"
    table.write_text(yaml.safe_dump(content))
    streams_file = Parameter("streams_file", value=str(table))
    web = WebMonitor(parameter_overrides=[Parameter("port", value=0), streams_file])
    remapped = ["--ros-args", "-r", "rgb/image_raw:=rgb/faulty/image_raw"]
    camera = rclpy.create_node("camera")
    rgb = RgbNode(cli_args=remapped, parameter_overrides=[streams_file])
    nodes = [web, FaultInjector(parameter_overrides=[streams_file]), rgb, camera]
    for node in nodes:
        executor.add_node(node)
    publisher = camera.create_publisher(Image, "rgb/image_raw", qos_profile_sensor_data)
    bridge, rng = CvBridge(), np.random.default_rng(0)
    pattern = 100 + 100 * ((np.indices((96, 96)) // 12).sum(axis=0) % 2)

    def shoot() -> None:
        pixels = pattern[..., None] + rng.normal(0, 4, (96, 96, 3))
        header = Header(stamp=camera.get_clock().now().to_msg(), frame_id="here")
        publisher.publish(bridge.cv2_to_imgmsg(pixels.astype(np.uint8), "rgb8", header))

    camera.create_timer(1.0 / RATE_HZ, shoot)
    yield web.page, lambda: executor.spin_once(timeout_sec=0.05)
    web.close()
    for node in reversed(nodes):
        executor.remove_node(node)
        node.destroy_node()
    executor.shutdown()
    rclpy.try_shutdown()


def test_killing_rgb_masks_it_and_the_page_shows_it(stack, tmp_path):
    page, spin = stack
    with open_tab(page.url, tmp_path / "profile", (1000, 600)) as tab:
        tab.until(f"{RGB_STATE} === 'usable' && {BRIGHTNESS} > 90", spin)
        assert page.watched
        tab.press("Kill rgb")
        tab.until(f"{RGB_STATE} === 'masked' && {BRIGHTNESS} < 60", spin)
        tab.until("document.body.innerText.includes('Mend rgb (drop)')", spin)
        tab.press("Mend rgb (drop)")
        tab.until(f"{RGB_STATE} === 'usable' && {BRIGHTNESS} > 90", spin)
        tab.call("Page.navigate", url="about:blank")
        own = tuple(page.url.replace("http", scheme, 1) for scheme in ("http", "ws", "blob:http"))
        foreign = [
            url[:80] for url in tab.requested if not url.startswith((*own, "data:", "about"))
        ]
        assert not foreign
        deadline = time.monotonic() + HANG_S
        while page.watched:
            assert time.monotonic() < deadline, "a page that nobody has open counts as watched"
            spin()
