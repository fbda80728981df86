"""A robot's recording becomes episodes by the code of the live nodes."""

from contextlib import closing

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from multismolvla.cli import main
from multismolvla.data import bag_messages as messages
from multismolvla.data.bag import PERIOD_NS, read_episode, write_episode
from multismolvla.data.episode import EpisodeError
from multismolvla.data.units import from_counts
from multismolvla.sensing.conditioning import condition
from multismolvla.streams import load_stream_table
from multismolvla.training.dataset.robot_bag import read_robot_bag
from multismolvla.training.demonstrations.demonstration import DemonstrationRecorder

TABLE = load_stream_table("config/streams.yaml")
EPOCH_NS = 1_760_000_000 * 10**9
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"


def float_image(stamp_ns, frame):
    image = messages.typestore().types[messages.IMAGE]
    return messages.serialize(
        image(
            header=messages.header(stamp_ns),
            height=frame.shape[0],
            width=frame.shape[1],
            encoding="32FC1",
            is_bigendian=0,
            step=frame.shape[1] * 4,
            data=frame.astype(np.float32).reshape(-1).view(np.uint8),
        ),
        messages.IMAGE,
    )


def status(state):
    types = messages.typestore().types
    pair = types["diagnostic_msgs/msg/KeyValue"](key="state", value=state)
    one = types["diagnostic_msgs/msg/DiagnosticStatus"](
        level=0, name="rgb", message="", hardware_id="", values=[pair]
    )
    return messages.serialize(types[DIAGNOSTICS](messages.header(0), [one]), DIAGNOSTICS)


def rgb(number):
    return np.full((96, 96, 3), number, np.uint8)


def write_bag(folder, entries):
    """Entries (time in ms, topic, type, bytes)."""
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}
        for _, topic, kind, _ in entries:
            if topic not in connections:
                connections[topic] = writer.add_connection(
                    topic, kind, typestore=messages.typestore()
                )
        for time_ms, topic, _, data in sorted(entries, key=lambda entry: entry[0]):
            writer.write(connections[topic], EPOCH_NS + round(time_ms * 1e6), data)


def at(time_ms):
    return EPOCH_NS + round(time_ms * 1e6)


@pytest.fixture
def entries():
    """600 ms: joints at 100 Hz, two cameras at 15 Hz that come 20 ms late, one command."""
    ramp = np.linspace(0.0, 0.5, 16)[:, None] * np.ones(6)
    found = [
        (0, "/bot/task", messages.STRING, messages.text("wave")),
        (
            5,
            "/bot/joint_trajectory",
            messages.TRAJECTORY,
            messages.trajectory(at(5), np.arange(16) * PERIOD_NS, ramp),
        ),
    ]
    for step in range(61):
        state = messages.joint_state(at(10 * step), np.full(6, 0.01 * step))
        found.append((10 * step, "/bot/joint_states", messages.JOINT_STATE, state))
    for number in range(9):
        shot_ms = 10 + number * 200 / 3
        depth = float_image(at(shot_ms + 4), np.full((48, 48), 0.5 + 0.1 * number))
        image = messages.image("rgb", at(shot_ms), rgb(number))
        found.append((shot_ms + 20, "/bot/rgb/image", messages.IMAGE, image))
        found.append((shot_ms + 24, "/bot/depth/image_raw", messages.IMAGE, depth))
    return found


def test_frames_states_and_commands_meet_at_the_rows(tmp_path, entries):
    write_bag(tmp_path / "bag", entries)
    (episode,) = read_robot_bag(tmp_path / "bag", TABLE, "bot")
    assert episode.instruction == "wave" and episode.streams == ("rgb", "depth")
    assert episode.stamps_ns[0] == at(10)
    assert episode.frame_index["rgb"].tolist() == list(range(0, 18, 2))
    assert episode.frames["rgb"][:, 0, 0, 0].tolist() == list(range(9))
    # Raw images are conditioned: brought to the size of the table, millimetres.
    assert episode.frames["depth"].shape == (9, 96, 96)
    assert episode.frames["depth"][:, 5, 5].tolist() == [500 + 100 * n for n in range(9)]
    rows_s = (episode.stamps_ns - EPOCH_NS) * 1e-9
    np.testing.assert_allclose(episode.state[:18, 2], rows_s[:18], atol=1e-6)
    due_s = rows_s - 0.005 + PERIOD_NS * 1e-9
    expected = np.interp(due_s, np.arange(16) * PERIOD_NS * 1e-9, np.linspace(0, 0.5, 16))
    np.testing.assert_allclose(episode.action[:, 0], expected, atol=1e-6)


def test_a_camera_that_stops_is_masked_and_the_other_goes_on(tmp_path, entries):
    kept = [e for e in entries if not (e[1] == "/bot/rgb/image" and 200 < e[0] < 420)]
    write_bag(tmp_path / "bag", kept)
    (episode,) = read_robot_bag(tmp_path / "bag", TABLE, "bot")
    assert len(episode.frames["rgb"]) < len(episode.frames["depth"])
    assert set(episode.frames["rgb"][:, 0, 0, 0]) < set(range(9))


def test_a_stream_whose_status_says_lost_is_masked(tmp_path, entries):
    entries.append((1, "/bot/rgb/status", DIAGNOSTICS, status("OK")))
    entries.append((300, "/bot/rgb/status", DIAGNOSTICS, status("LOST")))
    write_bag(tmp_path / "bag", entries)
    (episode,) = read_robot_bag(tmp_path / "bag", TABLE, "bot")
    assert episode.frames["rgb"].max() < 5 and len(episode.frames["depth"]) >= 8


def test_each_instruction_is_an_episode(tmp_path, entries):
    entries.append((310, "/bot/task", messages.STRING, messages.text("stop waving")))
    entries.append((311, entries[1][1], entries[1][2], entries[1][3]))
    write_bag(tmp_path / "bag", entries)
    episodes = read_robot_bag(tmp_path / "bag", TABLE, "bot")
    assert [episode.instruction for episode in episodes] == ["wave", "stop waving"]
    assert sum(len(episode.frames["rgb"]) for episode in episodes) == 9


def test_a_demonstration_read_as_a_robots_bag_is_the_same(tmp_path):
    with closing(DemonstrationRecorder(TABLE, TABLE.names)) as recorder:
        write_episode(tmp_path / "d", recorder.record("red_cube_in_bin", 1, 0.5, max_steps=21))
    ours = read_episode(tmp_path / "d")
    (theirs,) = read_robot_bag(tmp_path / "d", TABLE)
    np.testing.assert_allclose(theirs.state[:21], ours.state, atol=1e-9)
    np.testing.assert_allclose(theirs.action[:20], ours.executed[:20], atol=1e-9)
    for stream in TABLE:
        np.testing.assert_array_equal(theirs.frames[stream.name], ours.frames[stream.name])
        np.testing.assert_array_equal(
            theirs.frame_index[stream.name], ours.frame_index[stream.name]
        )
        # Live, the sensor node would have handed the policy the same numbers.
        if stream.kind in ("depth", "thermal"):
            live = condition(stream.kind, ours.frames[stream.name][0], 96, 96)
            stored = from_counts(stream.kind, theirs.frames[stream.name][0])
            np.testing.assert_array_equal(stored, live)


def test_a_bag_without_what_is_needed_is_one_line(tmp_path, entries):
    write_bag(tmp_path / "a", [e for e in entries if "image" not in e[1]])
    with pytest.raises(EpisodeError, match="images of no stream"):
        read_robot_bag(tmp_path / "a", TABLE, "bot")
    write_bag(tmp_path / "b", [e for e in entries if e[1] != "/bot/joint_trajectory"])
    with pytest.raises(EpisodeError, match="record all of them"):
        read_robot_bag(tmp_path / "b", TABLE, "bot")
    with pytest.raises(EpisodeError, match="images of no stream"):
        read_robot_bag(tmp_path / "b", TABLE)
    with pytest.raises(EpisodeError, match="cannot read it"):
        read_robot_bag(tmp_path / "c", TABLE)


def test_the_command_reads_it_too(tmp_path, entries, capsys):
    write_bag(tmp_path / "bag", entries)
    arguments = [str(tmp_path / "bag"), "--namespace", "bot", "--out", str(tmp_path / "cache")]
    assert main(["dataset", "cache", *arguments]) == 0
    assert "9 samples of 1 episodes" in capsys.readouterr().out
    assert main(["dataset", "info", str(tmp_path / "bag")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
