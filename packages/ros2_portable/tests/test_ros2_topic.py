"""ros2 topic list|info|echo|hz|pub against a live node."""

import signal

import pytest
from patience import HANG_S
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from ros2_background import background_node, interrupted, read_until, ros2_process, wait_until
from ros2cli import graph
from ros2cli.cli import main
from ros2cli.topic import rate_report
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String


@pytest.fixture(scope="module")
def talker():
    """A node that publishes images (best effort) and joints, and has set a task (latched)."""
    with background_node("talker") as node:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.task = node.create_publisher(String, "task", latched)
        node.task.publish(String(data="pick up the cube"))
        images = node.create_publisher(Image, "rgb/image", qos_profile_sensor_data)
        joints = node.create_publisher(JointState, "joint_states", 1)
        image = Image(height=2, width=3, encoding="mono8", step=3, data=bytes(range(6)))
        state = JointState(name=["pan", "lift"], position=[0.5, -1.0])
        state.header.frame_id = "base"
        node.create_timer(0.02, lambda: images.publish(image))
        node.create_timer(0.02, lambda: joints.publish(state))
        yield node


def test_list(talker, capsys):
    assert main(["topic", "list", "-t"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "/rgb/image [sensor_msgs/msg/Image]" in lines
    assert "/task [std_msgs/msg/String]" in lines
    assert lines == sorted(lines)


def test_info(talker, capsys):
    assert main(["topic", "info", "rgb/image"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Type: sensor_msgs/msg/Image",
        "Publisher count: 1",
        "Subscription count: 0",
    ]
    assert main(["topic", "info", "-v", "/task"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Type: std_msgs/msg/String\n\nPublisher count: 1\n\nNode name: talker\n")
    assert "  Reliability: RELIABLE\n" in text
    assert "  Durability: TRANSIENT_LOCAL\n" in text
    assert text.endswith("Subscription count: 0\n\n")


def test_echo_takes_best_effort_and_latched_topics(talker, capsys):
    assert main(["topic", "echo", "--once", "/task"]) == 0
    assert capsys.readouterr().out == "data: pick up the cube\n---\n"
    assert main(["topic", "echo", "--once", "--field", "data", "rgb/image"]) == 0
    assert capsys.readouterr().out == "- 0\n- 1\n- 2\n- 3\n- 4\n- 5\n---\n"
    assert main(["topic", "echo", "--once", "--no-arr", "rgb/image"]) == 0
    assert "data: '<sequence type: uint8, length: 6>'" in capsys.readouterr().out


def test_echo_of_a_topic_to_come_needs_its_type(talker):
    command = ["topic", "echo", "--once", "/later", "std_msgs/msg/String"]
    with ros2_process(*command) as echo:
        wait_until(lambda: talker.count_subscribers("/later"))
        later = talker.create_publisher(String, "/later", 1)
        timer = talker.create_timer(0.02, lambda: later.publish(String(data="here")))
        assert read_until(echo, "---") == "data: here\n---\n"
        assert echo.wait(HANG_S) == 0
    talker.destroy_timer(timer)
    talker.destroy_publisher(later)


def test_echo_fields(talker, capsys):
    assert main(["topic", "echo", "--once", "--field", "position[1]", "joint_states"]) == 0
    assert capsys.readouterr().out == "-1.0\n---\n"
    assert main(["topic", "echo", "--once", "--field", "header.nothing", "joint_states"]) == 1
    assert "JointState has no field 'header.nothing'" in capsys.readouterr().err


def test_echo_and_hz_end_cleanly_on_ctrl_c(talker):
    with ros2_process("topic", "hz", "-w", "5", "/rgb/image") as hz:
        assert "average rate: " in read_until(hz, "window: 5\n")
        status, rest = interrupted(hz)
    assert "Traceback" not in rest
    assert status == 2
    with ros2_process("topic", "echo", "/joint_states") as echo:
        read_until(echo, "---")
        status, rest = interrupted(echo, signal.SIGTERM)
    assert "Traceback" not in rest
    assert status == 2


def test_hz_reports_the_rate_and_the_jitter_of_what_arrived():
    rate, spread = rate_report([10.0, 10.02, 10.04, 10.08]).splitlines()
    assert rate == "average rate: 37.500"
    assert spread == "\tmin: 0.020s max: 0.040s std dev: 0.00943s window: 3"


def test_pub_fills_fields_from_yaml(talker, capsys):
    received = []
    subscription = talker.create_subscription(JointState, "command", received.append, 10)
    values = "{header: {stamp: {sec: 7}}, name: [a], position: [1]}"
    arguments = ["topic", "pub", "-t", "2", "-r", "50", "command", "sensor_msgs/msg/JointState"]
    assert main([*arguments, values]) == 0
    wait_until(lambda: len(received) == 2)
    assert received[0].position.tolist() == [1.0]
    assert received[0].header.stamp.sec == 7
    assert "publishing #2: sensor_msgs.msg.JointState(" in capsys.readouterr().out
    talker.destroy_subscription(subscription)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["pub", "/x", "std_msgs/msg/Strin"], "unknown type 'std_msgs/msg/Strin'"),
        (
            ["pub", "/x", "std_msgs/msg/String", "{dat: x}"],
            "String has no field 'dat'; it has data",
        ),
        (["pub", "/x", "std_msgs/msg/String", "{data: 5}"], "must be of type 'str'"),
        (["pub", "/x", "std_msgs/msg/String", "{data: ["], "no String can be made of"),
        (["pub", "/x", "std_msgs/msg/String", "hello"], "expected {field: value} for String"),
        (["pub", "-r", "0", "/x", "std_msgs/msg/String"], "--rate 0.0: expected more than 0"),
        (["echo", "/x", "std_msgs/msg/Strin"], "unknown type 'std_msgs/msg/Strin'"),
        (["echo", "/nothing"], "unknown topic '/nothing'"),
        (["info", "/nothing"], "unknown topic '/nothing'"),
    ],
)
def test_mistakes_get_one_line(arguments, complaint, capsys, monkeypatch):
    monkeypatch.setattr(graph, "DISCOVERY_S", 0.1)
    assert main(["topic", *arguments]) == 1
    errors = capsys.readouterr().err
    assert complaint in errors
    assert len(errors.splitlines()) == 1
