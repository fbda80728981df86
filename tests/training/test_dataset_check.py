"""`multismolvla dataset check`: one report of everything that is wrong or odd, with the fix."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_episode import made_up_episode
from made_up_lerobot import CAMERA, DATA, JOINTS, edit_info, edit_table, make_set, states

from multismolvla.cli import main
from multismolvla.data import lerobot_layout as layout
from multismolvla.data.bag import write_episode
from multismolvla.data.cache import TrainingCache
from multismolvla.robot.calibration import RAD_PER_TICK

LONG = 40


@pytest.fixture
def folder(tmp_path):
    """Long enough to be no broken-off recording."""
    return make_set(tmp_path / "set", episodes=2, rows=LONG)


def check(capsys, folder, *options):
    """(exit status, the findings as (severity, file, key, what), the report)."""
    status = main(["dataset", "check", str(folder), "--json", *options])
    report = json.loads(capsys.readouterr().out)
    return (
        status,
        [(f["severity"], f["file"], f["key"], f["what"]) for f in report["findings"]],
        report,
    )


def test_a_sound_set_has_facts_and_no_finding(folder, capsys):
    status, findings, report = check(capsys, folder)
    assert (status, findings) == (0, [])
    assert report["facts"] == {
        "version": "v3.0",
        "robot": "so101_follower",
        "episodes": 2,
        "read as": 2,
        "rows": 2 * LONG,
        "fps": 30.0,
        "minutes": 0.0,
        "instructions": 1,
        "cameras": ["front (image 4x4x3)"],
        "units": "degrees",
    }


def test_our_own_sets_are_sound(tmp_path, capsys):
    write_episode(tmp_path / "bags" / "00000000", made_up_episode(0, rows=LONG))
    out = str(tmp_path / "set")
    assert main(["dataset", "to-lerobot", str(tmp_path / "bags"), "--out", out]) == 0
    capsys.readouterr()
    status, findings, report = check(capsys, out)
    assert (status, findings) == (0, []) and report["facts"]["units"] == "radians"


def test_everything_is_told_at_once(folder, capsys):
    edit_info(folder, total_frames=7)
    edit_table(folder, layout.EPISODES, length=[LONG, LONG + 1], dataset_from_index=[0, 3])
    layout.write_tasks(folder / layout.TASKS, {"fold it": 4})
    edit_table(
        folder, DATA, front=[{"bytes": b"", "path": None}] * 2 * LONG, strange=[0] * 2 * LONG
    )
    (folder / layout.STATS).unlink()
    pq.write_table(pa.table({"a": [1]}), folder / "data/chunk-000/file-009.parquet")
    status, findings, report = check(capsys, folder)
    assert status == 2 and report["status"] == "error"
    told = {(file.rpartition("/")[2], key) for _, file, key, _ in findings}
    assert told == {
        ("file-000.parquet", "length"),
        ("file-000.parquet", "task_index"),
        ("file-000.parquet", "strange"),
        ("file-009.parquet", ""),
        ("info.json", "total_frames"),
        ("episodes", "dataset_from_index"),
        ("stats.json", ""),
    }


def test_the_same_of_many_episodes_is_one_finding(tmp_path, capsys):
    folder = make_set(tmp_path / "set", episodes=8, rows=LONG)
    edit_table(folder, layout.EPISODES, length=[LONG + 1] * 8)
    _, findings, _ = check(capsys, folder)
    (what,) = [what for _, _, key, what in findings if key == "length"]
    assert what.startswith("episodes 0, 1, 2, 3, 4 and 3 more: has another number of rows")


@pytest.mark.parametrize(
    ("about", "line"),
    [
        ({"min": [0.0] * 6}, "in place 0; the rows have"),
        ({"max": [0.0] * 5}, "has 5 numbers; the rows have 6"),
        ({"min": None}, "is missing or no numbers"),
        ({"min": [float("nan")] * 6}, "nan in place 0"),
    ],
)
def test_statistics_that_are_not_those_of_the_rows_are_told(folder, capsys, about, line):
    stats = json.loads((folder / layout.STATS).read_text())
    stats[layout.STATE] |= about
    (folder / layout.STATS).write_text(json.dumps(stats))
    _, findings, _ = check(capsys, folder)
    assert len(findings) == 1 and line in findings[0][3] and findings[0][1] == layout.STATS


def test_a_joint_that_never_moves_and_a_short_episode_are_odd(tmp_path, capsys):
    folder = make_set(tmp_path / "set")
    still = states()
    still[:, 2] = 3.0
    edit_table(folder, DATA, state=still.tolist())
    (folder / layout.STATS).unlink()
    status, findings, _ = check(capsys, folder)
    told = [what for _, _, _, what in findings]
    assert status == 1 and any(what.startswith("elbow_flex never changes") for what in told)
    assert any("is shorter than 1 s (0.20 s)" in what for what in told)


def test_an_image_that_cannot_be_found_or_decoded_is_told(folder, capsys):
    edit_table(folder, DATA, front=[{"bytes": None, "path": "images/a.png"}] * 2 * LONG)
    status, findings, _ = check(capsys, folder)
    assert (status, findings[0][2]) == (2, CAMERA) and "is not in the data set" in findings[0][3]
    edit_table(folder, DATA, front=[{"bytes": b"x", "path": None}] * 2 * LONG)
    assert "cannot be decoded" in check(capsys, folder)[1][0][3]
    edit_table(folder, DATA, front=...)
    assert "is missing in the rows" in check(capsys, folder)[1][0][3]


def test_an_image_of_another_size_is_odd(folder, capsys):
    edit_info(folder, features__front__shape=[8, 8, 3])
    status, findings, _ = check(capsys, folder)
    assert status == 1 and findings[0][3] == "is 4x4; meta/info.json says 8x8x3"
    # Older sets begin with the channels.
    edit_info(folder, features__front__shape=[3, 4, 4])
    assert check(capsys, folder)[0] == 0


def test_what_is_no_data_set_is_an_error(tmp_path, capsys):
    assert main(["dataset", "check", str(tmp_path / "nothing")]) == 2
    assert "info.json: cannot be read: No such file" in capsys.readouterr().out


def write_calibration(path, span=600):
    motors = {
        name: {
            "id": number + 1,
            "drive_mode": 0,
            "homing_offset": 0,
            "range_min": 2000 - span,
            "range_max": 2000 + span,
        }
        for number, name in enumerate(JOINTS)
    }
    path.write_text(json.dumps(motors))
    return str(path)


def test_the_commands_take_units_calibration_and_names(folder, tmp_path, capsys):
    edit_info(folder, features__state__names=None, features__action__names=None)
    values = np.linspace(-100, 100, 2 * LONG)[:, None] * np.ones(6)
    edit_table(folder, DATA, state=values.tolist(), action=values.tolist())
    cache = ["dataset", "cache", str(folder), "--cameras", "front=rgb", "--out"]
    cache += [str(tmp_path / "cache"), "--validation-share", "0"]
    assert main(cache) == 1
    assert "--joints shoulder_pan" in capsys.readouterr().err
    assert main([*cache, "--joints", *JOINTS]) == 1
    assert "has no known unit" in capsys.readouterr().err
    calibration = write_calibration(tmp_path / "arm.json")
    options = ["--joints", *JOINTS, "--units", "normalized", "--calibration", calibration]
    assert main([*cache, *options]) == 0
    capsys.readouterr()
    samples = TrainingCache(tmp_path / "cache")
    state = samples.sample(np.arange(len(samples))).state
    assert state[0, 0] == pytest.approx(-600 * RAD_PER_TICK)
    assert check(capsys, folder, *options)[2]["facts"]["units"] == "normalized"
    assert main(["dataset", "check", str(folder), "--calibration", str(tmp_path / "none")]) == 2
    assert "no calibration of the arm there" in capsys.readouterr().out


def test_what_was_made_of_a_set_is_said_and_its_parts_are_episodes(folder, tmp_path, capsys):
    times = np.tile(np.arange(LONG), 2) / 30.0
    times[25:LONG] += 5.0
    edit_table(folder, DATA, timestamp=times)
    arguments = ["dataset", "cache", str(folder), "--cameras", "front=rgb", "--out"]
    assert main([*arguments, str(tmp_path / "cache")]) == 0
    assert "warning: " in (err := capsys.readouterr().err) and "has gaps in time" in err
    cache = TrainingCache(tmp_path / "cache")
    assert [episode["name"] for episode in cache.episodes] == [
        "set/000000-0",
        "set/000000-1",
        "set/000001",
    ]
    assert [episode["length"] for episode in cache.episodes] == [25, LONG - 25, LONG]


def test_what_is_no_set_is_told_where_it_belongs(tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    status, _, report = check(capsys, tmp_path / "elsewhere")
    assert status == 2 and "holds meta/" in report["findings"][0]["fix"]
    write_episode(tmp_path / "bags" / "00000000", made_up_episode(0, rows=LONG))
    status, _, report = check(capsys, tmp_path / "bags")
    assert status == 2 and "multismolvla bag check" in report["findings"][0]["fix"]


def test_a_camera_of_our_own_set_needs_a_stream(tmp_path, capsys):
    write_episode(tmp_path / "bags" / "00000000", made_up_episode(0, rows=LONG))
    out = tmp_path / "set"
    assert main(["dataset", "to-lerobot", str(tmp_path / "bags"), "--out", str(out)]) == 0
    own = json.loads((out / layout.OWN).read_text())
    own["cameras"] = dict.fromkeys(own["cameras"])
    (out / layout.OWN).write_text(json.dumps(own))
    capsys.readouterr()
    status, findings, _ = check(capsys, str(out))
    assert status == 2
    assert any(f[1] == layout.OWN and "expected the name of a stream" in f[3] for f in findings)
