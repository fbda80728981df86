"""What is wrong or odd in a bag is told with a fix; what is right is no finding."""

import json

import numpy as np
import pytest
from made_up_recording import arm, at, camera, image, png, scene, write_recording

from multismolvla.cli import main
from multismolvla.data import bag_messages as messages

KINDS = ("rgb", "depth", "thermal", "wrist/rgb", "wrist/depth", "wrist/thermal")


def sharp(number):
    """A colour picture with edges."""
    rows, columns = np.mgrid[:48, :48]
    block = ((rows // 6 + columns // 6) % 2)[:, :, None]
    noise = np.random.default_rng(number).normal(0.0, 1.0, (48, 48, 3))
    return np.clip(60 + 100 * block + noise, 0, 255).astype(np.uint8)


def sound(prefix=""):
    """Entries of a bag that nothing is wrong with."""
    entries = list(arm(prefix))
    for name in KINDS:
        kind = name.rpartition("/")[2]
        frames = sharp if kind == "rgb" else None
        entries += camera(f"{prefix}/{name}/image_raw", kind, frames=frames)
    return entries


def check(capsys, folder, *arguments):
    """(exit status, findings, facts) of the command."""
    status = main(["bag", "check", str(folder), "--json", *arguments])
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == {0: "ok", 1: "warning", 2: "error"}[status]
    for finding in told["findings"]:
        assert "\n" not in json.dumps(finding)
    return status, told["findings"], told["facts"]


def said(findings, what, severity=None):
    """The one finding that says this."""
    (found,) = [f for f in findings if what in f["what"]]
    assert severity in (None, found["severity"])
    return found


def test_a_sound_bag_has_no_findings(tmp_path, capsys):
    status, findings, facts = check(capsys, write_recording(tmp_path / "bag", sound()))
    assert (status, findings) == (0, [])
    assert facts["seconds"] == pytest.approx(1.6, abs=0.2)
    assert any(line.startswith("rgb = /rgb/image_raw (24, 15.0 Hz)") for line in facts["taken"])


def test_it_prints_lines_for_people_too(tmp_path, capsys):
    entries = [entry for entry in sound() if entry[1] != "/joint_states"]
    assert main(["bag", "check", str(write_recording(tmp_path / "bag", entries))]) == 2
    out = capsys.readouterr().out
    assert "joint_states: there is none: neither replay nor training can use it" in out
    assert "Fix: record it, or --topics joint_states=TOPIC" in out


@pytest.mark.parametrize(
    ("left_out", "severity", "what"),
    [
        ("/joint_states", "error", "neither replay nor training"),
        ("/joint_trajectory", "warning", "training has nothing to learn"),
        ("/task", "warning", "there is no instruction"),
        ("/wrist/depth/image_raw", "warning", "no images: the stream is masked"),
    ],
)
def test_what_is_missing_is_told(tmp_path, capsys, left_out, severity, what):
    entries = [entry for entry in sound() if entry[1] != left_out]
    _, findings, _ = check(capsys, write_recording(tmp_path / "bag", entries))
    said(findings, what, severity)
    assert len(findings) == 1


def test_topics_that_are_not_taken_are_told_with_what_they_may_be(tmp_path, capsys):
    entries = [entry for entry in sound() if entry[1] != "/depth/image_raw"]
    entries += camera("/camera/depth/image_rect_raw", "depth")
    folder = write_recording(tmp_path / "bag", entries)
    status, findings, _ = check(capsys, folder)
    found = said(findings, "images that no stream of the table takes", "warning")
    assert found["file"] == "/camera/depth/image_rect_raw"
    assert "--topics depth=/camera/depth/image_rect_raw" in found["fix"] and status == 1
    status, findings, _ = check(capsys, folder, "--topics", "depth=/camera/depth/image_rect_raw")
    assert (status, findings) == (0, [])


def test_a_namespace_that_was_forgotten_is_named(tmp_path, capsys):
    folder = write_recording(tmp_path / "bag", sound("/bot"))
    status, findings, _ = check(capsys, folder)
    assert status == 2
    assert said(findings, "images of no stream", "error")["fix"] == "--namespace bot"
    assert check(capsys, folder, "--namespace", "bot")[0] == 0


def replaced(topic, **how):
    """A sound bag with other images on a topic."""
    entries = [entry for entry in sound() if entry[1] != topic]
    kind = topic.split("/")[-2]
    return entries + camera(topic, kind, **how)


def encoded(name):
    return lambda stamp_ms, frame: image(stamp_ms, frame, name)


BLACK = np.zeros((48, 48, 3), np.uint8)


@pytest.mark.parametrize(
    ("topic", "how", "severity", "what"),
    [
        ("/rgb/image_raw", {"encode": encoded("8UC3")}, "error", "does not say what its channels"),
        ("/depth/image_raw", {"frames": lambda n: scene("rgb", n)}, "error", "encoding is 'rgb8'"),
        ("/rgb/image_raw", {"frames": lambda _: BLACK}, "warning", "blank in 100%"),
        ("/rgb/image_raw", {"frames": lambda _: scene("rgb", 0)}, "warning", "frozen in"),
        (
            "/rgb/image_raw",
            {"frames": lambda n: None if 5 < n < 16 else scene("rgb", n)},
            "warning",
            "gaps without a message: 0.7 s at 0.3 s",
        ),
        (
            "/rgb/image_raw",
            {"frames": lambda n: scene("rgb", n, 48, 64)},
            "warning",
            "images of 64x48 are squeezed to 96x96",
        ),
        (
            "/depth/image_raw",
            {
                "frames": lambda n: np.where(np.arange(48) < 16, 65535, scene("depth", n)).astype(
                    "H"
                )
            },
            "warning",
            "33% of the pixels have no value",
        ),
        (
            "/thermal/image_raw",
            {"frames": lambda n: (scene("thermal", n) * np.float32(0.01)).astype(np.float32)},
            "error",
            "units kelvin? set thermal.units",
        ),
    ],
)
def test_images_that_are_of_no_use_or_odd_are_told(tmp_path, capsys, topic, how, severity, what):
    folder = write_recording(tmp_path / "bag", replaced(topic, **how))
    _, findings, _ = check(capsys, folder)
    found = said(findings, what, severity)
    assert found["file"] == topic and found["key"] == topic.split("/")[1]


def test_messages_that_are_of_no_use_now_and_then_are_counted(tmp_path, capsys):
    def encode(stamp_ms, frame):
        return image(stamp_ms, frame, "rgb8" if stamp_ms > 300 else "8UC3")

    entries = replaced("/rgb/image_raw", encode=encode)
    _, findings, _ = check(capsys, write_recording(tmp_path / "bag", entries))
    assert "20.8% of the messages are of no use" in said(findings, "8UC3", "warning")["what"]


def test_clocks_that_jump_are_told(tmp_path, capsys):
    entries = [
        (time_ms, topic, kind, data)
        for time_ms, topic, kind, data in sound()
        if topic != "/joint_states"
    ]
    for number in range(100):
        # Two publishers whose clocks are a second apart.
        stamp_ns = at(number * 10.0) - (number % 2) * 10**9
        state = messages.joint_state(stamp_ns, SO101_JOINTS, np.full(6, number * 1e-3))
        entries.append((number * 10.0, "/joint_states", messages.JOINT_STATE, state))
    _, findings, _ = check(capsys, write_recording(tmp_path / "bag", entries))
    assert "two publishers" in said(findings, "stamps run backwards 50 times", "warning")["fix"]


SO101_JOINTS = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
)


def test_a_recording_that_was_cut_off_is_told_with_its_remedy(tmp_path, capsys):
    folder = write_recording(tmp_path / "bag", sound(), chunk=20)
    (folder / "metadata.yaml").unlink()
    file = folder / "bag.mcap"
    file.write_bytes(file.read_bytes()[:-2000])
    _, findings, _ = check(capsys, folder)
    assert (
        said(findings, "it was cut off", "warning")["fix"] == f"multismolvla bag recover {folder}"
    )


def test_what_is_no_bag_is_one_error(tmp_path, capsys):
    status, findings, _ = check(capsys, tmp_path)
    assert status == 2 and len(findings) == 1
    assert "is not a bag" in findings[0]["what"]


def test_compressed_images_are_no_less_sound(tmp_path, capsys):
    entries = [entry for entry in sound() if entry[1] != "/rgb/image_raw"]
    entries += camera("/rgb/image_raw/compressed", "rgb", encode=png, frames=sharp)
    assert check(capsys, write_recording(tmp_path / "bag", entries))[:2] == (0, [])
