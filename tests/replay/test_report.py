"""What a person and a machine are shown of a replay."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from made_up_trace import CAMERAS, made_up_trace, masked
from test_measures import recorded

from multismolvla.data.bag_clock import BagClock
from multismolvla.faults.scenario import ScheduledFault
from multismolvla.replay.charts import MAX_LINES, changed_streams, severity_points
from multismolvla.replay.report import Replayed, render, results, write_results
from multismolvla.replay.trace import Setpoints

NOTHING = Setpoints(np.zeros(0, np.int64), np.zeros((0, 6)))


def replayed(*traces, commands=None, damage="", missing=(), note="", **more):
    """A replay whose bag is a stand-in: only its description is read."""
    source = SimpleNamespace(
        bag=SimpleNamespace(path="out/bag", damage=damage),
        table=CAMERAS,
        topics={"rgb": "/rgb/image_raw"},
        clock=BagClock(note=note),
        labels_recorded=True,
        git_revision="abc",
        missing=list(missing),
    )
    settings = SimpleNamespace(task="wave", latency_s=0.1, pose_check={"rgb": None})
    commands = traces[0].setpoints() if commands is None else commands
    return Replayed(source, "expert", settings, traces, commands, **more)


def loss(name="rgb:drop", first=65, **changes):
    trace = masked(made_up_trace(name, **changes), "rgb", first, 110)
    return recorded(trace, ScheduledFault("rgb", "drop", 1.0, 0.8))


def noise(level):
    fault = ScheduledFault("rgb", "noise", 0.5, None, level)
    return recorded(made_up_trace(f"rgb:noise-{level}", offset=0.1 * level), fault)


def test_the_first_line_says_what_was_replayed_and_the_others_what_came_of_it():
    head, clean, broken = results(replayed(recorded(made_up_trace()), loss(offset=0.1)))
    assert (head["bag"], head["policy"], head["recorded_code"]) == ("out/bag", "expert", "abc")
    assert (head["labels"], head["pose_check"], head["warnings"]) == ("recorded", ["rgb"], [])
    assert clean["pass"] == "clean" and clean["error_to_clean_rad"] is None
    assert clean["error_to_recorded_rad"]["overall"] == 0.0
    assert broken["error_to_clean_rad"]["overall"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ({"damage": "it was cut off: 7 bytes"}, "it was cut off: 7 bytes"),
        ({"missing": ["thermal"]}, "no images: thermal"),
        ({"note": "the recorder's clock is ahead"}, "the recorder's clock is ahead"),
        ({"commands": NOTHING}, "nothing recorded to compare"),
    ],
)
def test_what_a_bag_lacks_is_a_warning(more, warning):
    (found,) = results(replayed(made_up_trace(), **more))[0]["warnings"]
    assert warning in found


def test_a_policy_that_commanded_nothing_is_a_warning_with_its_error():
    silent = made_up_trace(acting_from=None, error="ValueError: no joints")
    (found,) = results(replayed(silent, commands=made_up_trace().setpoints()))[0]["warnings"]
    assert "commanded nothing" in found and "ValueError: no joints" in found


def test_a_live_pass_is_compared_with_the_pass_that_had_its_fault():
    clean, broken = made_up_trace(), loss(first=60)
    live = masked(made_up_trace("live"), "rgb", 60, 110)
    *_, line = results(replayed(clean, broken, live=live))
    assert line["agreement"]["same_mask"] == 1.0
    # Without a fault, or with several scenarios, it had none of theirs.
    *_, line = results(replayed(clean, broken, loss("other"), live=live))
    assert line["agreement"]["same_mask"] < 1.0
    *_, line = results(replayed(clean, recorded=made_up_trace("recorded")))
    assert line["pass"] == "recorded" and line["agreement"]["same_mask"] == 1.0


def table_of(text, heading):
    """Cells of the table below a heading."""
    lines = text.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]


def test_the_report_has_a_row_for_each_pass_and_says_what_never_happened():
    unseen = recorded(made_up_trace("rgb:drop"), ScheduledFault("rgb", "drop", 1.0, 0.8))
    lines = results(replayed(recorded(made_up_trace()), loss(), unseen))
    text = render(lines, "fast")
    head, rule, clean, seen, never = table_of(text, "Passes")
    assert head[:3] == ["pass", "masked after (s)", "recovered after (s)"]
    assert set(rule) == {"---"} and len({len(row) for row in (head, rule, clean, seen)}) == 1
    assert clean[:4] == ["`clean`", "-", "-", "0"]
    assert seen[1:3] == ["0.10", "0.20"] and never[1] == "1 never"
    assert table_of(text, "Availability")[3][1:] == ["76.3%", "100.0%"]
    assert text.endswith("Speed: fast.\n")


def test_errors_by_joint_and_by_horizon_have_a_row_for_each_reference():
    lines = results(replayed(recorded(made_up_trace()), loss(offset=0.1)))
    text = render(lines, "")
    by_joint = table_of(text, "Action error by joint")
    assert [row[:2] for row in by_joint[2:]] == [
        ["`clean`", "recorded"],
        ["`rgb:drop`", "recorded"],
        ["`rgb:drop`", "clean"],
    ]
    assert by_joint[-1][2:] == ["0.1000"] * 6 + ["0.100"]
    assert table_of(text, "Action error by horizon")[0] == ["pass", "to", "0 s", "0.1 s"]


def test_without_commands_there_is_nothing_to_compare():
    text = render(results(replayed(made_up_trace(), commands=NOTHING)), "")
    assert text.count("Nothing to compare.") == 2 and "Agreement" not in text


def test_results_and_pictures_are_written_and_a_summary_is_returned(tmp_path):
    out = tmp_path / "new" / "folder"
    clean = recorded(made_up_trace(wall_s=1.0, processor_s=0.5))
    shown = replayed(clean, noise(1), noise(3), live=made_up_trace("live"))
    summary = write_results(out, shown)
    assert summary[0] == "out/bag: 4.0 s, policy expert"
    assert "clean pass 3.98 times real time (7.96 by processor time)" in summary[-1]
    _, *passes = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    assert [line["pass"] for line in passes] == ["clean", "rgb:noise-1", "rgb:noise-3", "live"]
    for name in ("timeline.png", "severity.png", "availability.png"):
        assert name in summary[-1] and cv2.imread(str(out / name)).std() > 5
    # How long it took is no result.
    assert "wall" not in (out / "results.jsonl").read_text()


def test_there_is_no_picture_of_severities_where_there_are_none(tmp_path):
    summary = write_results(tmp_path, replayed(recorded(made_up_trace()), loss()))
    assert not (tmp_path / "severity.png").exists() and "severity.png" not in summary[-1]


@pytest.mark.parametrize(
    "traces",
    [
        [made_up_trace(acting_from=None)],
        [made_up_trace(ticks=0, acting_from=None)],
        [made_up_trace(), *(made_up_trace(str(n)) for n in range(MAX_LINES + 2))],
    ],
    ids=["nothing commanded", "an empty bag", "more passes than lines"],
)
def test_pictures_of_odd_replays(tmp_path, traces):
    write_results(tmp_path, replayed(*traces, commands=NOTHING))
    assert cv2.imread(str(tmp_path / "timeline.png")) is not None


def test_the_timeline_shows_streams_that_broke_or_were_masked_otherwise():
    base = recorded(masked(made_up_trace(), "depth", 90, 95))
    _, clean, broken = results(replayed(base, masked(loss(), "depth", 90, 95)))
    assert changed_streams(clean, clean) == ["depth"]
    assert changed_streams(broken, clean) == ["rgb"]


def test_severities_of_a_fault_are_points_of_one_line():
    lines = results(replayed(recorded(made_up_trace()), noise(3), noise(1), loss()))[1:]
    points = severity_points(lines)
    assert list(points) == ["rgb:noise"]
    assert [level for level, _, _ in points["rgb:noise"]] == [1, 3]
    assert [error for _, error, _ in points["rgb:noise"]] == pytest.approx([0.1, 0.3])
