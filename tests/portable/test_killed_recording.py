"""A recorder that gets SIGKILL: what had reached the disk is read back, and finished."""

import time

from rclpy.qos import qos_profile_sensor_data
from ros2_background import background_node, read_until, ros2_process, wait_until
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image
from std_msgs.msg import String

from multismolvla.cli import main
from multismolvla.data import bag_messages as messages
from multismolvla.data.recorded_bag import BagError, open_bag

# Images from the stack's cameras are about this large.
SIDE = 96


def kept_numbers(folder, topic):
    try:
        bag = open_bag(folder)
    except BagError:
        return []
    store = messages.typestore()
    return [
        int(store.deserialize_cdr(data, bag.topics[topic].type_name).header.frame_id)
        for _, _, data in bag.messages([topic])
    ]


def test_a_killed_recorder_loses_no_more_than_its_last_moment(tmp_path, capsys):
    folder = tmp_path / "bag"
    sent_s = []
    with background_node("camera") as node:
        images = node.create_publisher(Image, "rgb/image_raw", qos_profile_sensor_data)
        task = node.create_publisher(String, "task", 1)
        with ros2_process("bag", "record", "-a", "-s", "mcap", "-o", folder) as record:
            read_until(record, "Subscribed to topic '/rgb/image_raw'")
            wait_until(lambda: images.get_subscription_count() == 1)

            def send_and_look() -> bool:
                for _ in range(5):
                    image = Image(height=SIDE, width=SIDE, encoding="rgb8", step=3 * SIDE)
                    image.header.frame_id = str(len(sent_s))
                    image.data = bytes(3 * SIDE * SIDE)
                    sent_s.append(time.monotonic())
                    images.publish(image)
                task.publish(String(data="pick"))
                return len(kept_numbers(folder, "/rgb/image_raw")) >= 60

            wait_until(send_and_look)
            killed_s = time.monotonic()
            record.kill()
            record.wait()
    assert not (folder / "metadata.yaml").exists()
    kept = kept_numbers(folder, "/rgb/image_raw")
    # Best effort: single images may be lost on the way, on a machine that is too slow.
    assert kept == sorted(kept) and len(kept) >= 60
    # The recorder writes what it has every 0.2 s; the rest is slack for a busy machine.
    assert killed_s - sent_s[kept[-1]] < 3.0
    assert "cut off" in open_bag(folder).damage

    assert main(["bag", "recover", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "hold no whole messages" in said and "bag_recovered" in said
    with Reader(tmp_path / "bag_recovered") as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
    assert counts["/rgb/image_raw"] == len(kept) and counts["/task"] > 0
