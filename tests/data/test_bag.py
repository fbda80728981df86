"""What is written to a bag comes back, and other tools can read it too."""

import numpy as np
import pytest
from made_up_episode import assert_same, made_up_episode, made_up_steps
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from multismolvla.data.bag import find_episodes, read_episode, write_episode
from multismolvla.data.episode import EpisodeError
from multismolvla.embodiment.description import ActionSpace
from multismolvla.embodiment.so101 import SO101


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rows": 1},
        {"object_poses": {}},
        {"success": False, "instruction": "déplace l'objet"},
        {"chunks": np.zeros((0, 50, 6), np.float32), "chunk_index": np.zeros(0, np.int64)},
    ],
    ids=["whole", "one row", "no objects", "failed", "no chunks"],
)
def test_an_episode_comes_back_as_it_was(tmp_path, changes):
    episode = made_up_episode(**changes)
    write_episode(tmp_path / "one", episode)
    back = read_episode(tmp_path / "one")
    np.testing.assert_array_equal(back.stamps_ns, episode.stamps_ns)
    assert back.chunks.shape == episode.chunks.shape
    assert_same(back, episode)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rows": 1},
        {"chunks": np.zeros((0, 50, 7), np.float32), "chunk_index": np.zeros(0, np.int64)},
    ],
    ids=["whole", "one row", "no chunks"],
)
def test_an_episode_of_steps_comes_back_as_it_was(tmp_path, changes):
    episode = made_up_steps(**changes)
    write_episode(tmp_path / "one", episode)
    back = read_episode(tmp_path / "one")
    np.testing.assert_array_equal(back.stamps_ns, episode.stamps_ns)
    assert back.chunks.shape == episode.chunks.shape
    assert_same(back, episode)


def test_ros_tools_find_the_numbers_of_an_arm_that_has_no_joint_states(tmp_path):
    episode = made_up_steps()
    write_episode(tmp_path / "one", episode)
    with AnyReader([tmp_path / "one"]) as reader:
        topics = {connection.topic for connection in reader.connections}
        states = [
            reader.deserialize(data, connection.msgtype)
            for connection, _, data in reader.messages()
            if connection.topic == "/arm/state"
        ]
    # Tools take positions of a joint state for angles, and points of a trajectory for targets.
    assert not topics & {"/joint_states", "/joint_trajectory"}
    assert (
        states[3].layout.dim[1].label == "x,y,z,axis_angle1,axis_angle2,axis_angle3,finger1,finger2"
    )
    np.testing.assert_array_equal(states[3].data, episode.state[3])


def test_targets_of_another_period_are_stamped_with_it_and_come_back(tmp_path):
    six = (-4.0,) * 6, (4.0,) * 6
    space = ActionSpace("joint_targets", SO101.joint_names, *six, period_s=0.02)
    episode = made_up_episode(action_space=space)
    write_episode(tmp_path / "one", episode)
    back = read_episode(tmp_path / "one")
    assert_same(back, episode)
    with AnyReader([tmp_path / "one"]) as reader:
        (chunk, *_) = (
            reader.deserialize(data, connection.msgtype)
            for connection, _, data in reader.messages()
            if connection.topic == "/expert/joint_trajectory"
        )
    assert chunk.points[1].time_from_start.nanosec == 20_000_000


def test_streams_need_not_be_in_step(tmp_path):
    episode = made_up_episode(streams=("rgb", "depth"))
    episode = made_up_episode(
        streams=("rgb", "depth"),
        frames={"rgb": episode.frames["rgb"][:2], "depth": episode.frames["depth"]},
        frame_index={"rgb": np.array([1, 8]), "depth": np.array([0, 2, 4, 6, 8])},
        masks={"rgb": np.ones(2, bool), "depth": np.ones(5, bool)},
    )
    write_episode(tmp_path / "one", episode)
    assert_same(read_episode(tmp_path / "one"), episode)


def test_ros_tools_find_standard_messages_with_true_stamps(tmp_path):
    episode = made_up_episode()
    write_episode(tmp_path / "one", episode)
    with AnyReader([tmp_path / "one"]) as reader:
        stamps = []
        for connection, logged_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            if connection.topic == "/depth/image":
                assert (message.encoding, message.height, message.width) == ("16UC1", 6, 8)
                assert message.header.frame_id == "top_camera_optical_frame"
                stamps.append(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)
                assert stamps[-1] == logged_ns
            if connection.topic == "/task":
                assert message.data == episode.instruction
    np.testing.assert_array_equal(stamps, episode.stamps_ns[episode.frame_index["depth"]])
    with (tmp_path / "one" / "one.mcap").open("rb") as file:
        assert {chunk.compression for chunk in make_reader(file).get_summary().chunk_indexes} == {
            "zstd"
        }


def test_writing_again_replaces_and_leaves_nothing_behind(tmp_path):
    write_episode(tmp_path / "one", made_up_episode(seed=1))
    write_episode(tmp_path / "one", made_up_episode(seed=2))
    assert read_episode(tmp_path / "one").meta["seed"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_write_that_breaks_off_leaves_the_old_episode(tmp_path, monkeypatch):
    write_episode(tmp_path / "one", made_up_episode(seed=1))

    def break_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("multismolvla.data.bag_messages.objects", break_off)
    with pytest.raises(KeyboardInterrupt):
        write_episode(tmp_path / "one", made_up_episode(seed=2))
    assert read_episode(tmp_path / "one").meta["seed"] == 1
    assert find_episodes(tmp_path) == [tmp_path / "one"]


def test_a_damaged_bag_is_one_line(tmp_path):
    write_episode(tmp_path / "one", made_up_episode())
    path = tmp_path / "one" / "one.mcap"
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(EpisodeError, match="one: cannot read the episode") as refusal:
        read_episode(tmp_path / "one")
    assert "\n" not in str(refusal.value)


def test_a_folder_without_a_bag_is_one_line(tmp_path):
    with pytest.raises(EpisodeError, match="cannot read the episode"):
        read_episode(tmp_path)
