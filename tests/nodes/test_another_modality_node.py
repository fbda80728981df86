"""The node of a kind of image that another package describes, as the sensor container makes it."""

import numpy as np
from cv_bridge import CvBridge
from event_camera_example import events  # noqa: F401
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from multismolvla.nodes.sensor_container import node_classes
from multismolvla.sensing.health import State


def test_its_images_come_out_conditioned_and_its_counts_are_a_parameter(graph, events, tmp_path):  # noqa: F811
    parameters = {"streams_file": str(tmp_path / "streams.yaml"), "events_per_count": 0.5}
    parameters["events_at_zero"] = -64.0
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    node = graph.add(node_classes()["events_node"](parameter_overrides=overrides))
    assert node.get_name() == "events_node"
    # A property of the description: a constant image is sound.
    assert not node.has_parameter("flat_std") and node.has_parameter("noise_above")
    images = []
    graph.probe.create_subscription(Image, "events/image", images.append, qos_profile_sensor_data)
    raw = graph.probe.create_publisher(Image, "events/image_raw", qos_profile_sensor_data)
    graph.spin_until(
        lambda: raw.get_subscription_count() and graph.probe.count_publishers("events/image")
    )
    bridge, pixels = CvBridge(), np.full((192, 192), 128, np.uint8)
    pixels[:96] = 138

    def send() -> None:
        before = node._pipe.health.report(0).frames
        header = Header(stamp=node.get_clock().now().to_msg())
        raw.publish(bridge.cv2_to_imgmsg(pixels, "mono8", header))
        graph.spin_until(lambda: node._pipe.health.report(0).frames > before)

    for _ in range(6):
        send()
    graph.spin_until(lambda: images)
    assert node._pipe.health.state is not State.LOST
    frame = bridge.imgmsg_to_cv2(images[-1], "passthrough")
    assert images[-1].encoding == "32FC1" and frame.shape == (96, 96)
    assert frame[0, 0] == 5.0 and frame[-1, -1] == 0.0
