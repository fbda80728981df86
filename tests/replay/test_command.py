"""`multismolvla replay` and bags as they come: of others, broken, incomplete."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_up_recording import arm, at, camera, image, info, png, scene, status, write_recording

from multismolvla.cli import main
from multismolvla.data import bag_messages as messages
from multismolvla.data.recording import open_recording
from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import ActionChunk
from multismolvla.replay import command
from multismolvla.replay.command import expand
from multismolvla.replay.one_pass import ReplaySettings, replay
from multismolvla.sensing.synchronizer import SynchronizedSet
from multismolvla.stack.recorded_perception import perceived
from multismolvla.streams import load_stream_table

TABLE = load_stream_table("config/streams.yaml")
JOINTS = "joint_states"


class Still:
    """Commands the joints to stay where they are, and keeps what it was shown."""

    def __init__(self):
        self.seen = []

    def infer(self, observation):
        self.seen.append(observation)
        return ActionChunk(observation.stamp_ns, 1 / 30, np.tile(observation.state, (50, 1)))

    def reset(self):
        pass


@pytest.fixture
def still(monkeypatch):
    """Stands for the policy of the command."""
    policy = Still()
    monkeypatch.setattr(command, "load_policy", lambda *_, **__: policy)
    return policy


def results(out):
    head, *passes = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    return head, passes


def run(folder, out, *more):
    """The command on a bag, with labels of the bag; its exit status."""
    common = ["replay", str(folder), "--out", str(out), "--policy", "expert"]
    return main([*common, "--labels", "recorded", *more])


@pytest.fixture
def without_expert(monkeypatch):
    """Bags of these tests have no poses of objects, which a scripted expert would need."""
    monkeypatch.setattr(command, "EXPERT", "nobody")


def test_a_bag_of_others_is_replayed_with_what_it_has(still, without_expert, tmp_path, capsys):
    def bgr(stamp_ms, frame):
        return image(stamp_ms, frame[:, :, ::-1], "bgr8")

    entries = [(t, "/arm", k, d) for t, topic, k, d in arm() if topic == "/joint_states"]
    entries += camera("/front", "rgb", encode=bgr)
    entries += camera("/hand/compressed", "rgb", start_ms=14.0, encode=png)
    folder = write_recording(tmp_path / "foreign", entries)
    topics = ["rgb=/front", "wrist/rgb=hand/compressed", "joint_states=arm"]
    more = ["--topics", *topics, "--task", "wave", "--latency", "0.05"]
    assert run(folder, tmp_path / "out", *more) == 0
    head, (clean,) = results(tmp_path / "out")
    assert head["topics"] == {"rgb": "/front", "wrist/rgb": "/hand/compressed", JOINTS: "/arm"}
    assert set(head["missing"]) == set(TABLE.names) - {"rgb", "wrist/rgb"}
    used = {name for name, share in clean["availability"].items() if share > 0}
    assert used == {"rgb", "wrist/rgb"}
    assert any("nothing recorded to compare" in warning for warning in head["warnings"])
    assert "masked because the bag has no images" in capsys.readouterr().out
    assert {observation.task for observation in still.seen} == {"wave"}
    assert (head["latency_s"], clean["latency_ms"]["median"]) == (0.05, 50.0)


def test_the_policy_is_shown_what_the_recording_means(still, without_expert, tmp_path):
    """Counts of another scale, and the set of conditioned frames that training would store."""
    told = info(**{"/depth_node": {"raw_unit_m": 0.0005}, "/policy_node": {"task": "wave"}})
    entries = [*arm()[2:], (0.0, "/recording_info", messages.STRING, told)]
    entries += [*camera("/rgb/image_raw", "rgb"), *camera("/depth/image_raw", "depth")]
    folder = write_recording(tmp_path / "bag", entries)
    assert run(folder, tmp_path / "out") == 0
    made = {
        one.stamp_ns: one.messages
        for one in perceived(open_recording(folder, TABLE, SO101, labels="recorded"))
        if isinstance(one, SynchronizedSet)
    }
    assert len(still.seen) >= 1 and still.seen[0].task == "wave"
    for observation in still.seen:
        frames = made[observation.stamp_ns]
        assert 0.2 < np.nanmean(observation.frames["depth"]) < 0.4
        for name in ("rgb", "depth"):
            np.testing.assert_array_equal(observation.frames[name], frames[name])


@pytest.mark.parametrize("broken", ["frozen", "unreadable", "silent"])
def test_a_camera_that_broke_in_the_recording_is_masked_and_the_other_is_not(broken, tmp_path):
    def rgb(number):
        if broken == "frozen":
            return scene("rgb", min(number, 10))
        return None if broken == "silent" and number > 10 else scene("rgb", number)

    cameras = camera("/rgb/image_raw", "rgb", count=30, frames=rgb)
    if broken == "unreadable":
        cameras = [(t, n, k, d if t < 750 else d[: len(d) // 3]) for t, n, k, d in cameras]
    entries = [*arm(lasts_ms=2000), *cameras, *camera("/depth/image_raw", "depth", count=30)]
    source = open_recording(
        write_recording(tmp_path / "bag", entries), TABLE, SO101, labels="recorded"
    )
    trace = replay(source, Still(), ReplaySettings())
    used = dict(zip(trace.streams, trace.available.T, strict=True))
    assert trace.error == "" and used["depth"][25:].all()
    (lost,) = np.flatnonzero(np.diff(used["rgb"].astype(int)) == -1)
    # Repeats, silence and messages that hold no image are noticed within 0.3 s.
    assert 0.7 < (trace.ticks_ns[lost] - at(0)) * 1e-9 < 1.1
    assert not used["rgb"][lost + 1 :].any()


def test_the_latency_is_that_of_the_recorded_stack(still, without_expert, tmp_path):
    entries = [*arm(), *camera("/rgb/image_raw", "rgb")]
    for number in range(8):
        time_ms = 100.0 + 200.0 * number
        values = {"latency_ms": "70", "inferences": number, "mask.rgb": 1, "task": "wave"}
        data = status(time_ms, "", "policy", **values)
        entries.append((time_ms, "/policy/status", messages.STATUS, data))
    folder = write_recording(tmp_path / "bag", entries)
    assert run(folder, tmp_path / "out") == 0
    head, (_, recorded) = results(tmp_path / "out")
    assert head["latency_s"] == 0.07 and recorded["pass"] == "recorded"
    assert recorded["availability"]["rgb"] == 1.0


def test_a_bag_of_the_live_stack_is_compared_and_must_be_one(
    still, without_expert, tmp_path, capsys
):
    folder = write_recording(tmp_path / "bag", [*arm(), *camera("/rgb/image_raw", "rgb")])
    assert run(folder, tmp_path / "out", "--live", str(folder)) == 1
    assert "has no policy/status, so no live stack was recorded" in capsys.readouterr().err


def test_the_command_says_in_one_line_what_it_cannot_do(tmp_path, capsys):
    joints = [(t, "/arm", k, d) for t, topic, k, d in arm() if topic == "/joint_states"]
    folder = write_recording(tmp_path / "bag", [*joints, *camera("/front", "rgb", count=3)])
    front, known = ["rgb=front"], ["rgb=front", "joint_states=arm"]
    for topics, more, complaint in (
        (front, [], "has no joint_states; name its topic"),
        (known, [], "has no task; give an instruction"),
        (known, ["--task", "wave"], "has no ground_truth/objects; the expert needs"),
        (known, ["--fault", "rgb:nonsense"], "unknown fault 'nonsense'"),
        (known, ["--fault", "rgb:drop:9"], "severity is '9'"),
        (known, ["--fault", "rgb"], "expected STREAMS:FAULT"),
        (["rgb=nowhere"], [], "has no topic '/nowhere'"),
    ):
        assert run(folder, tmp_path / "out", *more, "--topics", *topics) == 1
        printed = capsys.readouterr().err
        assert complaint in printed and printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--topics", "rgb"], "'rgb' is not NAME=TOPIC"),
        (["--fault-duration", "0"], "'0' is not a positive number of seconds"),
        (["--labels", "mine"], "invalid choice: 'mine'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, complaint, capsys):
    with pytest.raises(SystemExit):
        main(["replay", "bag", *arguments])
    assert complaint in capsys.readouterr().err


def test_a_matrix_has_every_severity_that_matters():
    made = expand(["all-rgb:noise", "depth:drop", "rgb:smoke:2"], TABLE, 1.0, None)
    levels = [f"all-rgb:noise-{level}" for level in range(1, 6)]
    assert [scenario.name for scenario in made] == [*levels, "depth:drop", "rgb:smoke-2"]
    (fault,) = expand(["joint_states:drop"], TABLE, 0.5, 2.0)[0].faults
    assert (fault.start_s, fault.end_s) == (0.5, 2.5)
