"""A robot's recording becomes episodes that hold what the live stack would have seen, no more."""

from contextlib import closing
from dataclasses import replace

import cv2
import numpy as np
import pytest
from made_up_recording import (
    CAMERA_MS,
    EPOCH_NS,
    arm,
    at,
    camera,
    info,
    png,
    scene,
    status,
    write_recording,
)

from multismolvla.cli import main
from multismolvla.data import bag_messages as messages
from multismolvla.data.bag import PERIOD_NS, read_episode, write_episode
from multismolvla.data.cache import TrainingCache
from multismolvla.data.cache_writer import samples_of
from multismolvla.data.episode import EpisodeError
from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.conversion import condition, from_counts, to_counts
from multismolvla.modalities.depth import DEPTH
from multismolvla.modalities.rgb import RGB
from multismolvla.modalities.thermal import THERMAL
from multismolvla.streams import load_stream_table
from multismolvla.training.dataset.episode_sources import ForeignData, find_sources
from multismolvla.training.dataset.robot_bag import read_robot_bag
from multismolvla.training.demonstrations.demonstration import DemonstrationRecorder

TABLE = load_stream_table("config/streams.yaml")
FRAMES = 24
# Frames before the policy node knows that a stream is healthy.
WARM_UP = 5


def read(folder, entries, table=TABLE, namespace=""):
    (episode,) = read_robot_bag(write_recording(folder, entries), table, SO101, namespace)
    return episode


def used(episode, stream):
    """Numbers of the camera's frames that a learner is shown."""
    rows = episode.frame_index[stream] if stream in episode.frames else np.zeros(0, int)
    instants_ns = episode.stamps_ns[rows] - at(10)
    return np.rint(instants_ns / (CAMERA_MS * 1e6)).astype(int).tolist()


ALL = list(range(WARM_UP, FRAMES))


def test_frames_states_and_commands_meet_at_the_rows(tmp_path):
    entries = [*arm("/bot"), *camera("/bot/rgb/image_raw", "rgb")]
    entries += camera("/bot/depth/image_raw", "depth", start_ms=14.0)
    episode = read(tmp_path / "bag", entries, namespace="bot")
    assert episode.instruction == "wave" and episode.streams == ("rgb", "depth")
    assert episode.stamps_ns[0] == at(10 + WARM_UP * CAMERA_MS)
    assert episode.frame_index["rgb"].tolist() == list(range(0, 38, 2))
    assert used(episode, "rgb") == used(episode, "depth") == ALL
    # Raw images are conditioned: brought to the size of the table, millimetres.
    assert episode.frames["depth"].shape == (19, 96, 96)
    for number, stored in zip(ALL, episode.frames["depth"], strict=True):
        expected = to_counts(DEPTH, condition(DEPTH, scene("depth", number), 96, 96))
        np.testing.assert_array_equal(stored, expected)
    rows_s = (episode.stamps_ns - EPOCH_NS) * 1e-9
    np.testing.assert_allclose(episode.state[:36, 2], rows_s[:36], atol=1e-6)
    due_s = rows_s - 0.005 + PERIOD_NS * 1e-9
    expected = np.interp(due_s, np.arange(16) / 30, np.linspace(0, 0.5, 16))
    np.testing.assert_allclose(episode.action[:, 0], expected, atol=1e-6)


def test_counts_mean_what_the_recording_says_they_mean(tmp_path):
    told = info(**{"/thermal_node": {"scale": 0.04, "offset": -1000.0}})
    entries = [*arm(), *camera("/rgb/image_raw", "rgb"), *camera("/thermal/image_raw", "thermal")]
    entries.append((0.0, "/recording_info", messages.STRING, told))
    episode = read(tmp_path / "bag", entries)
    celsius = from_counts(THERMAL, episode.frames["thermal"][0])
    units = replace(THERMAL.counts, scale=0.04, offset=-1000.0)
    expected = condition(THERMAL, scene("thermal", WARM_UP), 96, 96, units)
    assert expected.min() > 150.0
    np.testing.assert_allclose(celsius, expected, atol=0.0051)


@pytest.mark.parametrize(
    ("broken", "last"),
    [
        # A frame that repeats three times is one too many.
        (lambda number: scene("rgb", min(number, 8)), 10),
        (lambda number: scene("rgb", number) if number <= 8 else np.zeros((48, 48, 3), "u1"), 8),
        (lambda number: scene("rgb", number) if number <= 8 else None, 8),
    ],
    ids=["frozen", "black", "silent"],
)
def test_a_broken_camera_is_a_masked_stream_of_samples_that_the_other_keeps(tmp_path, broken, last):
    entries = [*arm(), *camera("/rgb/image_raw", "rgb", frames=broken)]
    entries += camera("/depth/image_raw", "depth")
    episode = read(tmp_path / "bag", entries)
    assert used(episode, "depth") == ALL
    assert used(episode, "rgb") == list(range(WARM_UP, last + 1))
    samples = samples_of(episode)
    assert len(samples.rows) == len(ALL)
    masked = (samples.frame_of["rgb"] < 0).tolist()
    assert masked == [number > last for number in ALL]


def test_a_camera_that_never_showed_anything_gives_no_stream(tmp_path):
    black = np.zeros((48, 48, 3), np.uint8)
    entries = [*arm(), *camera("/rgb/image_raw", "rgb", frames=lambda _: black)]
    entries += camera("/depth/image_raw", "depth")
    assert read(tmp_path / "bag", entries).streams == ("depth",)
    with pytest.raises(EpisodeError, match="usable images"):
        read(tmp_path / "alone", [entry for entry in entries if "depth" not in entry[1]])


def test_an_image_that_cannot_be_read_is_masked_and_the_recording_goes_on(tmp_path):
    entries = camera("/depth/image_raw", "depth")
    time_ms, topic, kind, data = entries[12]
    entries[12] = (time_ms, topic, kind, data[: len(data) // 2])
    episode = read(tmp_path / "bag", [*arm(), *camera("/rgb/image_raw", "rgb"), *entries])
    # An unreadable message loses the stream at once, as it does live.
    assert used(episode, "depth") == [*range(WARM_UP, 12), *range(13 + WARM_UP, FRAMES)]
    assert used(episode, "rgb") == ALL


def test_compressed_images_are_read(tmp_path):
    entries = [*arm(), *camera("/rgb/image_raw/compressed", "rgb", encode=png)]
    entries += camera("/depth/image_raw/compressed", "depth", encode=png)
    episode = read(tmp_path / "bag", entries)
    expected = condition(RGB, scene("rgb", WARM_UP), 96, 96)
    np.testing.assert_array_equal(episode.frames["rgb"][0], expected)
    assert used(episode, "depth") == ALL


def test_the_stream_table_names_topics_of_other_stacks(tmp_path):
    file = tmp_path / "streams.yaml"
    with open("config/streams.yaml") as shipped:
        file.write_text(shipped.read().replace("{name: rgb,", "{name: rgb, topic: /front/color,"))
    entries = [*arm(), *camera("/front/color", "rgb")]
    assert used(read(tmp_path / "bag", entries, load_stream_table(file)), "rgb") == ALL


def test_what_the_live_stack_passed_on_is_taken_as_it_judged_it(tmp_path):
    """Its conditioned images from the first to the last, whatever the raw ones look like."""
    entries = [*arm(), *camera("/rgb/image_raw", "rgb", frames=lambda _: scene("rgb", 0))]
    entries += camera("/rgb/image", "rgb", frames=lambda n: scene("rgb", n, 96, 96))
    states = [*(["OK"] * 10), "LOST", *(["DEGRADED"] * 10)]
    for number, state in enumerate(states):
        time_ms = number * CAMERA_MS + 15.0
        entries.append((time_ms, "/rgb/status", messages.STATUS, status(time_ms, state)))
    episode = read(tmp_path / "bag", [*entries, *camera("/depth/image_raw", "depth")])
    lost = [10]
    assert used(episode, "rgb") == [n for n in range(FRAMES) if n not in lost]
    np.testing.assert_array_equal(episode.frames["rgb"][11], scene("rgb", 12, 96, 96))


def test_a_status_that_stays_away_is_a_lost_stream_as_it_is_live(tmp_path):
    entries = [*arm(lasts_ms=4600), *camera("/rgb/image", "rgb", count=66)]
    entries += camera("/depth/image_raw", "depth", count=66)
    entries.append((12.0, "/rgb/status", messages.STATUS, status(12.0, "OK")))
    numbers = used(read(tmp_path / "bag", entries), "rgb")
    # 1.8 s without a status, and the second look at it.
    assert numbers == list(range(numbers[-1] + 1))
    assert 1.8 < (numbers[-1] * CAMERA_MS + 30.0) * 1e-3 < 2.4


def test_statuses_of_others_are_no_health(tmp_path):
    entries = [*arm(), *camera("/rgb/image", "rgb"), *camera("/depth/image_raw", "depth")]
    entries.append((12.0, "/rgb/status", messages.STATUS, status(12.0, "FINE")))
    episode = read(tmp_path / "bag", entries)
    assert episode.streams == ("depth",)


def test_each_instruction_is_an_episode(tmp_path):
    entries = [*arm(), *camera("/rgb/image_raw", "rgb")]
    entries.append((810.0, "/task", messages.STRING, messages.text("stop waving")))
    entries.append((811.0, *entries[1][1:]))
    first, second = read_robot_bag(write_recording(tmp_path / "bag", entries), TABLE, SO101)
    assert [first.instruction, second.instruction] == ["wave", "stop waving"]
    assert len(first.frames["rgb"]) + len(second.frames["rgb"]) == len(ALL)


def test_a_policy_that_was_started_with_its_task_needs_no_message(tmp_path):
    entries = [entry for entry in arm() if entry[1] != "/task"]
    told = info(**{"/policy_node": {"task": "put the cube away"}})
    entries += [(0.0, "/recording_info", messages.STRING, told), *camera("/rgb/image_raw", "rgb")]
    assert read(tmp_path / "bag", entries).instruction == "put the cube away"


def test_stamps_of_another_clock_than_the_recorders(tmp_path):
    """A bag of a simulation: what comes when counts on the clock of the stamps."""
    entries = [*arm(), *camera("/rgb/image_raw", "rgb"), *camera("/depth/image_raw", "depth")]
    hour_later = write_recording(tmp_path / "bag", entries, EPOCH_NS + 3600 * 10**9)
    (episode,) = read_robot_bag(hour_later, TABLE, SO101)
    assert used(episode, "rgb") == ALL and episode.action[3, 0] > episode.state[0, 0]


def test_a_recording_that_was_cut_off_is_read_as_far_as_it_is_whole(tmp_path):
    entries = [*arm(), *camera("/rgb/image_raw", "rgb", count=200)]
    whole = write_recording(tmp_path / "whole", entries, chunk=50)
    data = (whole / "whole.mcap").read_bytes()
    (tmp_path / "bags" / "cut").mkdir(parents=True)
    (tmp_path / "bags" / "cut" / "cut_0.mcap").write_bytes(data[: len(data) // 2])
    (episode,) = read_robot_bag(tmp_path / "bags" / "cut", TABLE, SO101)
    numbers = used(episode, "rgb")
    assert numbers == list(range(WARM_UP, numbers[-1] + 1)) and 20 < len(numbers) < 196
    assert "cut off" in episode.meta["damage"]


def test_a_demonstration_read_as_a_robots_bag_is_the_same(tmp_path):
    with closing(DemonstrationRecorder(TABLE, TABLE.names)) as recorder:
        write_episode(tmp_path / "d", recorder.record("red_cube_in_bin", 1, 0.5, max_steps=21))
    ours = read_episode(tmp_path / "d")
    (theirs,) = read_robot_bag(tmp_path / "d", TABLE, SO101)
    # Demonstrations are not judged: their cameras cannot break. Their time begins at zero, a stamp
    # that the health of a stream does not believe.
    lost = WARM_UP + 1
    first = lost * 2
    np.testing.assert_allclose(theirs.state[: 21 - first], ours.state[first:], atol=1e-9)
    np.testing.assert_allclose(theirs.action[: 20 - first], ours.executed[first:20], atol=1e-9)
    for name in TABLE.names:
        np.testing.assert_array_equal(theirs.frames[name], ours.frames[name][lost:])
        rows = ours.frame_index[name][lost:] - first
        np.testing.assert_array_equal(theirs.frame_index[name], rows)


def test_labels_are_made_of_what_is_used_where_none_were_recorded(tmp_path):
    class Painter:
        inputs = ("rgb", "depth")

        def predict(self, frames):
            return np.full((96, 96), len([f for f in frames.values() if f is not None]), np.uint8)

    def broken(number):
        return scene("depth", number) if number < 18 else None

    entries = [*arm(), *camera("/rgb/image_raw", "rgb")]
    folder = write_recording(
        tmp_path / "bag", [*entries, *camera("/depth/image_raw", "depth", frames=broken)]
    )
    (episode,) = read_robot_bag(folder, TABLE, SO101, segmenter=Painter)
    labels = episode.frames["segmentation"][:, 0, 0].tolist()
    assert labels[:5] == [2] * 5 and labels[-5:] == [1] * 5
    (unlabelled,) = read_robot_bag(folder, TABLE, SO101, labels="recorded", segmenter=Painter)
    assert "segmentation" not in unlabelled.frames


def test_a_bag_without_what_is_needed_is_one_line(tmp_path):
    entries = [*arm("/bot"), *camera("/bot/rgb/image_raw", "rgb")]
    write_recording(tmp_path / "a", [e for e in entries if "image" not in e[1]])
    write_recording(tmp_path / "b", [e for e in entries if e[1] != "/bot/joint_trajectory"])
    text = messages.text("no image")
    write_recording(tmp_path / "c", [*arm(), (1.0, "/rgb/image_raw", messages.STRING, text)])
    for name, namespace, complaint in (
        ("a", "bot", "images of no stream"),
        ("b", "bot", "has no joint_trajectory; record them, or name their topics with --topics"),
        ("b", "", "images of no stream"),
        ("c", "", "/rgb/image_raw is a std_msgs/msg/String; expected"),
        ("d", "", "there is no such bag"),
    ):
        with pytest.raises(EpisodeError, match=complaint) as refusal:
            read_robot_bag(tmp_path / name, TABLE, SO101, namespace)
        assert "\n" not in str(refusal.value)


def test_the_command_reads_it_too(tmp_path, capsys):
    entries = [*arm("/bot"), *camera("/bot/rgb/image_raw", "rgb")]
    folder = write_recording(tmp_path / "bag", entries)
    arguments = [str(folder), "--namespace", "bot", "--labels", "recorded"]
    assert main(["dataset", "cache", *arguments, "--out", str(tmp_path / "cache")]) == 0
    assert "19 samples of 1 episodes" in capsys.readouterr().out


def test_the_settings_of_the_robot_decide_what_is_usable(tmp_path):
    """A threshold that was tuned for the robot is that of training, too."""
    folder = write_recording(tmp_path / "bag", [*arm(), *camera("/rgb/image_raw", "rgb")])
    config = tmp_path / "config"
    config.mkdir()
    values = "/**: {ros__parameters: {recovery_frames: 12}}\n"
    (config / "rgb_node.yaml").write_text(values)
    (source,) = find_sources([folder], SO101, ForeignData(config=config, labels="recorded"))
    assert used(source.load(), "rgb") == list(range(12, FRAMES))
    (source,) = find_sources([folder], SO101, ForeignData(labels="recorded"))
    assert used(source.load(), "rgb") == ALL


def test_a_camera_that_works_in_the_second_episode_alone_is_in_the_cache(tmp_path):
    def rgb(number):
        return scene("rgb", number) if number > 12 else None

    entries = [*arm(), *camera("/rgb/image_raw", "rgb", frames=rgb)]
    entries += camera("/depth/image_raw", "depth")
    entries.append((810.0, "/task", messages.STRING, messages.text("stop waving")))
    entries.append((811.0, *entries[1][1:]))
    folder = write_recording(tmp_path / "bag", entries)
    out = tmp_path / "cache"
    assert main(["dataset", "cache", str(folder), "--labels", "recorded", "--out", str(out)]) == 0
    cache = TrainingCache(out)
    assert cache.streams == ("depth", "rgb")
    mask = cache.sample(range(len(cache))).mask
    assert mask[:, 0].all() and 0 < mask[:, 1].sum() < len(mask)


def in_another_order(entries):
    """The same commands with their joints the other way round."""
    order = list(reversed(range(6)))
    for time_ms, topic, kind, data in entries:
        if kind == messages.TRAJECTORY:
            read = messages.typestore().deserialize_cdr(data, kind)
            offsets = [
                p.time_from_start.sec * 10**9 + p.time_from_start.nanosec for p in read.points
            ]
            targets = np.array([point.positions for point in read.points])[:, order]
            names = [read.joint_names[joint] for joint in order]
            data = messages.trajectory(
                messages.stamp_of(read.header), names, np.array(offsets), targets
            )
        yield time_ms, topic, kind, data


def test_commands_are_read_in_whatever_order_their_joints_are(tmp_path):
    def ramp(entry):
        points = np.linspace(0.0, 0.5, 16)[:, None] * np.arange(1.0, 7.0)
        if entry[2] != messages.TRAJECTORY:
            return entry
        made = messages.trajectory(at(5.0), SO101.joint_names, np.arange(16) * 33_333_333, points)
        return (*entry[:3], made)

    entries = [*map(ramp, arm()), *camera("/rgb/image_raw", "rgb")]
    ours = read(tmp_path / "ours", entries)
    theirs = read(tmp_path / "theirs", list(in_another_order(entries)))
    np.testing.assert_array_equal(ours.action, theirs.action)
    assert len(np.unique(ours.action[5])) == 6


def other_joints(entries, type_name):
    for entry in entries:
        if entry[2] == type_name == messages.TRAJECTORY:
            data = messages.trajectory(at(5.0), ("a", "b"), np.zeros(1, np.int64), np.zeros((1, 2)))
            yield (*entry[:3], data)
        else:
            yield entry


def test_a_command_for_other_joints_is_the_reason_that_is_given(tmp_path):
    entries = [*other_joints(arm(), messages.TRAJECTORY), *camera("/rgb/image_raw", "rgb")]
    said = (
        "none of 1 messages of /joint_trajectory is of use: trajectory has no joint shoulder_pan; "
        "it has a, b"
    )
    with pytest.raises(EpisodeError, match=said):
        read(tmp_path / "bag", entries)


def test_topics_of_others_are_named_and_their_names_are_guessed(tmp_path, capsys):
    entries = [
        (time_ms, f"/arm{topic}" if "joint" in topic else topic, kind, data)
        for time_ms, topic, kind, data in arm()
    ]
    entries += camera("/camera/color/image_raw/compressed", "rgb", encode=png)
    entries += camera("/camera/depth/image_rect_raw", "depth")
    folder = write_recording(tmp_path / "bag", entries)
    arguments = ["dataset", "cache", str(folder), "--out", str(tmp_path / "cache")]
    arguments += ["--labels", "recorded"]
    assert main(arguments) == 1
    images = (
        "rgb=/camera/color/image_raw/compressed",
        "depth=/camera/depth/image_rect_raw",
    )
    assert f"--topics {' '.join(images)}" in capsys.readouterr().err
    assert main([*arguments, "--topics", *images]) == 1
    assert "has no joint_states, joint_trajectory; record them" in capsys.readouterr().err
    arms = ("joint_states=/arm/joint_states", "joint_trajectory=arm/joint_trajectory")
    assert main([*arguments, "--topics", *images, *arms]) == 0
    assert "samples of 1 episodes" in capsys.readouterr().out


def test_a_stream_of_which_nothing_is_used_is_told_with_the_reason(tmp_path, capsys):
    entries = [*arm(), *camera("/rgb/image_raw", "rgb"), *camera("/depth/image_raw", "rgb")]
    entries += camera("/wrist/rgb/image_raw", "rgb", frames=lambda _: np.zeros((48, 48, 3), "u1"))
    folder = write_recording(tmp_path / "bag", entries)
    arguments = ["--labels", "recorded", "--out", str(tmp_path / "cache")]
    assert main(["dataset", "cache", str(folder), *arguments]) == 0
    said = capsys.readouterr().err
    assert "depth: none of 24 messages of /depth/image_raw is of use: encoding is 'rgb8'" in said
    assert "wrist/rgb: none of its images is used, for it is not sound" in said


def compressed_depth(stamp_ms, frame):
    data = bytes(12) + cv2.imencode(".png", frame)[1].tobytes()
    made = messages.typestore().types[messages.COMPRESSED_IMAGE](
        messages.header(at(stamp_ms)), "16UC1; compressedDepth png", np.frombuffer(data, np.uint8)
    )
    return messages.serialize(made, messages.COMPRESSED_IMAGE)


def test_compressed_depth_is_read_as_the_raw_images_are(tmp_path):
    rgb = [*arm(), *camera("/rgb/image_raw", "rgb")]
    raw = read(tmp_path / "raw", [*rgb, *camera("/depth/image_raw", "depth")])
    packed = [
        (time_ms, topic, messages.COMPRESSED_IMAGE, data)
        for time_ms, topic, _, data in camera(
            "/depth/image_raw/compressedDepth", "depth", encode=compressed_depth
        )
    ]
    found = read(tmp_path / "packed", [*rgb, *packed])
    np.testing.assert_array_equal(found.frames["depth"], raw.frames["depth"])
