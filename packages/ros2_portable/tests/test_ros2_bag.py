"""ros2 bag record|info|play: nothing lost, QoS kept, recoverable after a crash."""

import signal
from collections import Counter
from types import SimpleNamespace

import pytest
from mcap.exceptions import McapError
from mcap.records import Channel, Message
from mcap.stream_reader import StreamReader
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros2_background import background_node, interrupted, read_until, ros2_process, wait_until
from ros2cli import recording
from ros2cli.cli import main
from ros2cli.recording import Recorder
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header, Int32, String

TYPESTORE = get_typestore(Stores.ROS2_JAZZY)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SENSOR = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def peer():
    with background_node("peer") as node:
        yield node


def recorded_values(bag, topic):
    with Reader(bag) as reader:
        chosen = [c for c in reader.connections if c.topic == topic]
        return [
            TYPESTORE.deserialize_cdr(data, connection.msgtype).data
            for connection, _, data in reader.messages(chosen)
        ]


def kept(bag) -> Counter:
    """Messages by topic in a bag that is being recorded, or was cut off."""
    channels, counts = {}, Counter()
    try:
        with (bag / "bag.mcap").open("rb") as file:
            for item in StreamReader(file).records:
                if isinstance(item, Channel):
                    channels[item.id] = item.topic
                elif isinstance(item, Message):
                    counts[channels[item.channel_id]] += 1
    except McapError:
        pass  # It ends in the middle.
    return counts


def test_record_takes_late_topics_with_their_qos_and_closes_on_ctrl_c(peer, tmp_path, capsys):
    bag = tmp_path / "bag"
    task = peer.create_publisher(String, "task", LATCHED)
    task.publish(String(data="pick"))
    with ros2_process("bag", "record", "-o", bag, "/task", "late") as record:
        read_until(record, "Subscribed to topic '/task'")
        late = peer.create_publisher(Int32, "late", SENSOR)
        read_until(record, "Subscribed to topic '/late'")
        wait_until(lambda: late.get_subscription_count() == 1)
        for number in range(40):
            late.publish(Int32(data=number))
        wait_until(lambda: kept(bag)["/task"] == 1)
        task.publish(String(data="end"))
        wait_until(lambda: kept(bag) == {"/task": 2, "/late": 40})
        status, output = interrupted(record)
    assert (status, "Traceback" in output) == (0, False)
    assert recorded_values(bag, "/late") == list(range(40))
    assert recorded_values(bag, "/task") == ["pick", "end"]
    with Reader(bag) as reader:
        offered = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}
    assert offered["/task"].durability == QosDurability.TRANSIENT_LOCAL
    assert offered["/late"].reliability == QosReliability.BEST_EFFORT
    assert main(["bag", "info", str(bag)]) == 0
    text = capsys.readouterr().out
    assert "Messages:          42" in text
    assert "Topic: /late | Type: std_msgs/msg/Int32 | Count: 40 | " in text


def test_a_killed_recording_keeps_every_whole_message(peer, tmp_path, capsys):
    bag = tmp_path / "bag"
    numbers = peer.create_publisher(Int32, "numbers", 50)
    with ros2_process("bag", "record", "-a", "-o", bag) as record:
        read_until(record, "Subscribed to topic '/numbers'")
        wait_until(lambda: numbers.get_subscription_count() == 1)
        for number in range(30):
            numbers.publish(Int32(data=number))

        wait_until(lambda: kept(bag)["/numbers"] == 30)
        record.kill()
        record.wait()
        assert kept(bag)["/numbers"] == 30
    assert main(["bag", "info", str(bag)]) == 1
    assert "ros2 bag reindex" in capsys.readouterr().err


@pytest.fixture
def small_bag(tmp_path):
    """Ten headers 20 ms apart on /numbers, and one topic of a type that does not exist."""
    bag = tmp_path / "small"
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        header = writer.add_connection("/numbers", "std_msgs/msg/Header", typestore=TYPESTORE)
        alien = writer.add_connection(
            "/alien", "alien_msgs/msg/X", msgdef="int8 x", rihs01="RIHS01_0"
        )
        stamp = TYPESTORE.types["builtin_interfaces/msg/Time"](0, 0)
        for number in range(10):
            msg = TYPESTORE.types["std_msgs/msg/Header"](stamp, str(number))
            data = TYPESTORE.serialize_cdr(msg, "std_msgs/msg/Header")
            writer.write(header, 10**18 + number * 20_000_000, data)
        writer.write(alien, 10**18, b"\0\1\0\0\5")
    return bag


def test_play_remaps_and_tells_the_time(peer, small_bag):
    received, clock = [], []
    peer.create_subscription(Header, "renamed", lambda msg: received.append(msg.frame_id), 50)
    peer.create_subscription(Clock, "/clock", lambda msg: clock.append(msg.clock), 50)
    arguments = ["-m", "/numbers:=/renamed", "--clock", "100", "-r", "0.5", "--loop"]
    with ros2_process("bag", "play", small_bag, *arguments) as play:
        read_until(play, "Ignoring topic '/alien': unknown type 'alien_msgs/msg/X'")
        wait_until(lambda: received.count("9") >= 2 and clock)
        status, output = interrupted(play, signal.SIGTERM)
    assert (status, "Traceback" in output) == (0, False)
    first = received.index("9") + 1
    assert received[first : first + 10] == [str(number) for number in range(10)]
    assert {stamp.sec for stamp in clock} == {10**9}
    assert all(stamp.nanosec <= 180_000_000 for stamp in clock)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["record"], "nothing to record"),
        (["record", "-a", "-o", "/tmp"], "the output /tmp exists already"),
        (["record", "/x", "-o", "/proc/no/bag"], "cannot write /proc/no/bag"),
        (["play", "/nowhere"], "cannot read the bag /nowhere"),
        (["play", "/nowhere", "-r", "0"], "--rate 0.0"),
        (["play", "/nowhere", "-m", "a=b"], "--remap a=b: expected OLD:=NEW"),
        (["info", "/nowhere"], "cannot read the bag /nowhere"),
    ],
)
def test_mistakes_get_one_line(arguments, complaint, capsys):
    assert main(["bag", *arguments]) == 1
    errors = capsys.readouterr().err
    assert complaint in errors
    assert len(errors.splitlines()) == 1


def test_play_of_an_empty_bag(tmp_path, capsys):
    with Writer(tmp_path / "empty", version=9, storage_plugin=StoragePlugin.MCAP):
        pass
    assert main(["bag", "play", str(tmp_path / "empty")]) == 1
    assert "there is nothing to play" in capsys.readouterr().err


def test_a_message_has_the_time_of_its_arrival_however_late_its_callback(monkeypatch):
    class Busy:
        """A node whose callbacks come when the test calls them."""

        def create_timer(self, *_):
            pass

        def get_topic_names_and_types(self):
            return [("/task", ["std_msgs/msg/String"])]

        def get_publishers_info_by_topic(self, _):
            return [SimpleNamespace(qos_profile=QoSProfile(depth=1))]

        def create_subscription(self, *arguments, **_):
            self.callback = arguments[2]

        def get_logger(self):
            return SimpleNamespace(info=print)

    written = []
    writer = SimpleNamespace(
        add_connection=lambda *_, **__: "channel", write=lambda *message: written.append(message)
    )
    monkeypatch.setattr(recording.time, "time_ns", lambda: 9_000)
    node = Busy()
    Recorder(node, writer, lambda topic: True)._discover()
    node.callback(b"a", {"received_timestamp": 5_000, "source_timestamp": 4_000})
    # A middleware without such times gives none, or zero.
    node.callback(b"b", {"received_timestamp": 0})
    assert written == [("channel", 5_000, b"a"), ("channel", 9_000, b"b")]
