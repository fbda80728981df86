"""Where a recording has what, what its numbers mean, and in which order it came."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from made_up_recording import (
    EPOCH_NS,
    arm,
    at,
    camera,
    image,
    info,
    png,
    scene,
    status,
    write_recording,
)

from multismolvla.data import bag_messages as messages
from multismolvla.data.bag_info import read_info
from multismolvla.data.recorded_bag import BagError, open_bag
from multismolvla.data.recording import COMMAND, OBJECTS, TASK, open_recording
from multismolvla.embodiment.so101 import SO101
from multismolvla.faults.fault import JOINT_STATES
from multismolvla.modalities.camera_image import numbers, raw_frame
from multismolvla.modalities.conversion import to_units
from multismolvla.pose_check.check import NONE
from multismolvla.sensing.health import State
from multismolvla.sensing.reported_health import StreamStatus
from multismolvla.streams import load_stream_table

TABLE = load_stream_table("config/streams.yaml")


def values_of(recording, source, **options):
    return [e.value for e in recording.events(**options) if e.source == source]


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """What a stack in a namespace records: raw and conditioned images, statuses, labels."""
    entries = arm("/bot", lasts_ms=400)
    for kind in ("rgb", "depth"):
        entries += camera(f"/bot/{kind}/image_raw", kind, count=5)
        entries += camera(f"/bot/{kind}/image", kind, count=5, lag_ms=25.0)
        entries.append((1.0, f"/bot/{kind}/status", messages.STATUS, status(1.0, "DEGRADED")))
    entries += camera("/bot/segmentation/image_raw", "segmentation", count=5)
    entries += camera("/bot/segmentation/image", "segmentation", count=5, lag_ms=60.0)
    told = info(**{"/bot/policy_node": {"task": " wave ", "pose_check": "simulation"}})
    entries.append((0.0, "/bot/recording_info", messages.STRING, told))
    return write_recording(tmp_path_factory.mktemp("bags") / "ours", entries)


def test_raw_images_come_before_conditioned_ones_and_labels_are_made_of_them(ours):
    recording = open_recording(ours, TABLE, SO101, "bot")
    assert recording.topics["rgb"] == "/bot/rgb/image_raw"
    assert recording.streams == ["rgb", "depth"] and recording.judged == []
    assert not recording.labels_recorded
    # The network can label this view, so it is not missing; the wrist has nothing.
    wrist = [name for name in TABLE.names if name.startswith("wrist/")]
    assert recording.missing == ["thermal", *wrist]


def test_a_namespace_has_its_own_recording_info(ours):
    recording = open_recording(ours, TABLE, SO101, "/bot/")
    assert (recording.first_task, recording.pose_check) == ("wave", "simulation")
    assert recording.git_revision == "x"
    with pytest.raises(BagError, match="images of no stream"):
        open_recording(ours, TABLE, SO101)


def test_what_sensor_nodes_passed_on_is_taken_with_their_statuses_where_wanted(ours):
    recording = open_recording(ours, TABLE, SO101, "bot", judged=True)
    assert recording.topics["rgb"] == "/bot/rgb/image" and recording.judged == ["rgb", "depth"]
    statuses = values_of(recording, "depth/status")
    assert statuses == [StreamStatus(State.DEGRADED, (), 15.0, 0.01, 9)]
    # Labels without a status were judged by nobody.
    assert "segmentation" not in recording.topics


@pytest.mark.parametrize(
    ("labels", "expected"),
    [("auto", None), ("network", None), ("recorded", "/bot/segmentation/image_raw")],
)
def test_where_labels_come_from(ours, labels, expected):
    recording = open_recording(ours, TABLE, SO101, "bot", labels=labels)
    assert recording.topics.get("segmentation") == expected
    assert recording.labels_recorded == (expected is not None)


def test_labels_that_the_recorded_stack_took_are_taken(tmp_path):
    entries = camera("/rgb/image_raw", "rgb", count=3)
    entries += camera("/segmentation/image_raw", "segmentation", count=3)
    told = info({"segmentation": "ground_truth"})
    entries.append((0.0, "/recording_info", messages.STRING, told))
    assert (
        "segmentation"
        in open_recording(write_recording(tmp_path / "a", entries), TABLE, SO101).streams
    )


def test_a_bag_of_conditioned_images_alone_has_its_labels_recorded(tmp_path):
    entries = camera("/rgb/image", "rgb", count=3)
    entries += camera("/segmentation/image", "segmentation", count=3)
    recording = open_recording(write_recording(tmp_path / "a", entries), TABLE, SO101)
    assert recording.streams == ["rgb", "segmentation"] and recording.labels_recorded


def test_counts_mean_what_the_recorded_nodes_took_them_for(tmp_path):
    entries = []
    for topic, kind in (("/depth", "depth"), ("/wrist/thermal", "thermal")):
        entries += camera(
            f"{topic}/image_raw", kind, 1, frames=lambda _: np.full((4, 4), 5000, "H")
        )
    told = info(
        **{
            "/depth_node": {"raw_unit_m": 0.0001},
            "/wrist/thermal_node": {"scale": 0.04, "offset": -100.0},
        }
    )
    entries.append((90.0, "/recording_info", messages.STRING, told))
    recording = open_recording(write_recording(tmp_path / "a", entries), TABLE, SO101)
    (depth,), (thermal,) = (values_of(recording, name) for name in ("depth", "wrist/thermal"))
    assert float(depth[0, 0]) == pytest.approx(0.5)
    assert float(thermal[0, 0]) == pytest.approx(100.0)
    # What is played to live nodes, which know nothing of the recording, says the same.
    for _, name, data in recording.messages():
        message = messages.typestore().deserialize_cdr(data, messages.IMAGE)
        assert message.encoding == "32FC1"
        modality = TABLE[name].modality
        shown = to_units(modality, raw_frame(modality, message))
        np.testing.assert_array_equal(shown, depth if name == "depth" else thermal)


def test_a_recording_info_of_somebody_else_says_nothing(tmp_path):
    for number, text in enumerate(("no JSON", "[1, 2]", '"text"')):
        entries = [(0.0, "/recording_info", messages.STRING, messages.text(text))]
        found = read_info(open_bag(write_recording(tmp_path / str(number), entries)))
        assert (found.git_revision, found.task(), found.pose_check()) == ("", "", NONE)


def test_events_come_in_order_and_never_go_back(tmp_path):
    """A recorder with a cache writes a message behind one that came later."""
    entries = [*arm(lasts_ms=100), *camera("/rgb/image_raw", "rgb", count=2, lag_ms=0.0)]
    folder = write_recording(tmp_path / "a", entries)
    events = list(open_recording(folder, TABLE, SO101).events())
    times_ns = [event.now_ns for event in events]
    assert times_ns == sorted(times_ns) and times_ns[0] == EPOCH_NS
    assert {event.source for event in events} == {"rgb", JOINT_STATES, TASK}
    assert open_recording(folder, TABLE, SO101).end_ns == times_ns[-1]


def test_commands_come_where_they_are_wanted(tmp_path):
    entries = [*arm(lasts_ms=100), *camera("/rgb/image_raw", "rgb", count=2)]
    recording = open_recording(write_recording(tmp_path / "a", entries), TABLE, SO101)
    assert values_of(recording, COMMAND) == []
    ((times_ns, targets),) = values_of(recording, COMMAND, commands=True)
    assert times_ns[0] == at(5.0) and targets.shape == (16, 6)
    (first_ns,), (first,) = recording.commands()
    assert first_ns == times_ns[0] and (first == targets[0]).all()


def test_a_recording_of_another_arm_is_refused_in_one_line(tmp_path):
    state = messages.joint_state(at(1.0), ("pan", "tilt"), np.zeros(2))
    entries = [
        (1.0, "/joint_states", messages.JOINT_STATE, state),
        *camera("/rgb/image_raw", "rgb", count=1),
    ]
    bag = write_recording(tmp_path / "a", entries)
    with pytest.raises(BagError, match=r"/a: /joint_states has the joints pan, tilt; .*'so101'"):
        open_recording(bag, TABLE, SO101)


def test_a_recording_with_other_joint_names_is_read_where_the_arm_s_file_maps_them(tmp_path):
    theirs = ("Rotation", "Pitch", "Elbow", "Wrist_Pitch", "Wrist_Roll", "Jaw")
    state = messages.joint_state(at(1.0), theirs[::-1], np.arange(6.0)[::-1])
    entries = [
        (1.0, "/joint_states", messages.JOINT_STATE, state),
        *camera("/rgb/image_raw", "rgb", count=1),
    ]
    bag = write_recording(tmp_path / "a", entries)
    with pytest.raises(BagError, match=r"has the joints Jaw, .*topic_name"):
        open_recording(bag, TABLE, SO101)
    joints = [
        dataclasses.replace(joint, topic_name=name)
        for joint, name in zip(SO101.joints, theirs, strict=True)
    ]
    named = dataclasses.replace(SO101, joints=tuple(joints))
    (positions,) = values_of(open_recording(bag, TABLE, named), JOINT_STATES)
    np.testing.assert_array_equal(positions, np.arange(6.0))


def test_messages_that_are_not_ours_are_problems_and_nothing_stops(tmp_path):
    types = messages.typestore().types
    strange = types[messages.JOINT_STATE](messages.header(at(1.0)), ["elbow"], *[np.zeros(1)] * 3)
    joints = messages.serialize(strange, messages.JOINT_STATE)
    whole = messages.joint_state(at(0.5), SO101.joint_names, np.zeros(6))
    command = types[messages.TRAJECTORY](messages.header(at(1.0)), ["elbow"], [])
    half = camera("/rgb/image_raw", "rgb", count=1)[0][3][:1000]
    entries = [
        (0.5, "/joint_states", messages.JOINT_STATE, whole),
        (1.0, "/joint_states", messages.JOINT_STATE, joints),
        (
            2.0,
            "/joint_trajectory",
            messages.TRAJECTORY,
            messages.serialize(command, messages.TRAJECTORY),
        ),
        (3.0, "/rgb/image_raw", messages.IMAGE, half),
        (4.0, "/depth/image_raw", messages.IMAGE, image(4.0, scene("rgb", 0))),
        (5.0, "/thermal/image_raw", messages.IMAGE, image(5.0, scene("depth", 0), "yuv422")),
        (6.0, "/rgb/image_raw", messages.IMAGE, image(6.0, scene("rgb", 1))),
    ]
    recording = open_recording(write_recording(tmp_path / "a", entries), TABLE, SO101)
    events = list(recording.events(commands=True))
    problems = {event.source: event.problem for event in events if event.problem}
    assert problems[JOINT_STATES].startswith("no position of shoulder_pan, ")
    assert problems[COMMAND] == "trajectory has no joint shoulder_pan; it has elbow"
    assert "encoding is 'rgb8'; expected 16UC1" in problems["depth"]
    assert "encoding is 'yuv422'; expected mono16" in problems["thermal"]
    assert problems["rgb"] and all("\n" not in text for text in problems.values())
    assert events[-1].source == "rgb" and events[-1].problem == ""
    assert len(recording.commands()[0]) == 0


def test_an_image_that_cannot_be_decoded_is_played_without_pixels(tmp_path):
    garbage = messages.typestore().types[messages.COMPRESSED_IMAGE](
        messages.header(at(1.0)), "jpeg", np.arange(50, dtype=np.uint8)
    )
    data = messages.serialize(garbage, messages.COMPRESSED_IMAGE)
    entries = [(1.0, "/rgb/image_raw/compressed", messages.COMPRESSED_IMAGE, data)]
    entries += camera("/rgb/image_raw/compressed", "rgb", count=1, encode=png)
    recording = open_recording(write_recording(tmp_path / "a", entries), TABLE, SO101)
    (broken, whole) = (
        messages.typestore().deserialize_cdr(data, messages.IMAGE)
        for _, _, data in recording.messages()
    )
    assert (broken.height, broken.width) == (0, 0)
    np.testing.assert_array_equal(numbers(whole), scene("rgb", 0))


def test_a_stamp_of_zero_counts_as_the_time_of_arrival(tmp_path):
    entries = [(7.0, "/rgb/image_raw", messages.IMAGE, messages.image("rgb", 0, scene("rgb", 0)))]
    (event,) = open_recording(write_recording(tmp_path / "a", entries), TABLE, SO101).events()
    assert event.stamp_ns == event.now_ns == at(7.0)


def test_poses_of_objects_are_read(tmp_path):
    pose = np.array([0.1, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0])
    entries = camera("/rgb/image_raw", "rgb", count=1)
    told = messages.objects(at(2.0), {"cube": pose})
    entries.append((2.0, "/ground_truth/objects", messages.MARKERS, told))
    recording = open_recording(write_recording(tmp_path / "a", entries), TABLE, SO101)
    (poses,) = values_of(recording, OBJECTS)
    np.testing.assert_allclose(poses["cube"], pose)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Two colour cameras under other names, one as PNG; the recorder's clock is 100 s ahead."""

    def bgr(stamp_ms, frame):
        return image(stamp_ms, frame[:, :, ::-1], "bgr8")

    entries = camera("/front", "rgb", count=30, lag_ms=0.0, encode=bgr)
    entries += camera("/hand/compressed", "rgb", count=30, lag_ms=0.0, encode=png)
    entries += [(t, "/arm", kind, d) for t, topic, kind, d in arm() if topic == "/joint_states"]
    folder = tmp_path_factory.mktemp("bags") / "foreign"
    return write_recording(folder, entries, EPOCH_NS + 100 * 10**9)


GIVEN = {"rgb": "/front", "wrist/rgb": "/hand/compressed", "joint_states": "/arm"}


def test_a_bag_of_others_is_mapped_and_what_it_lacks_is_named(foreign):
    recording = open_recording(foreign, TABLE, SO101, given=GIVEN, labels="recorded")
    assert "100.000 s ahead" in recording.clock.note
    assert recording.missing == [n for n in TABLE.names if n not in ("rgb", "wrist/rgb")]
    frames = {}
    for event in recording.events():
        assert event.problem == "" and event.now_ns == event.stamp_ns
        frames.setdefault(event.source, event.value)
    np.testing.assert_array_equal(frames["rgb"], scene("rgb", 0))
    np.testing.assert_array_equal(frames["rgb"], frames["wrist/rgb"])


def test_a_stream_table_maps_topics_too(foreign, tmp_path):
    file = tmp_path / "streams.yaml"
    with open("config/streams.yaml") as shipped:
        file.write_text(shipped.read().replace("{name: rgb,", "{name: rgb, topic: /front,"))
    table = load_stream_table(file)
    assert table.streams == TABLE.streams
    assert open_recording(foreign, table, SO101).topics["rgb"] == "/front"
    # What is given on the command line comes first.
    given = {"rgb": "/hand/compressed"}
    assert open_recording(foreign, table, SO101, given=given).topics["rgb"] == "/hand/compressed"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "images of no stream of the table"),
        ({"rgb": "/nowhere"}, "has no topic '/nowhere'"),
        ({"rgb": "/arm"}, "/arm is a sensor_msgs/msg/JointState; expected"),
        ({"eye": "/front"}, "unknown name 'eye'"),
    ],
)
def test_what_a_bag_lacks_is_one_line(foreign, given, complaint):
    with pytest.raises(BagError, match=complaint) as caught:
        open_recording(foreign, TABLE, SO101, given=given)
    assert str(caught.value).count("\n") == 0
