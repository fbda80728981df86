"""Summary, report, heat map, log and wall of an evaluation."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.evaluation.evaluation_report import render_report
from multismolvla.evaluation.heat_map import write_heat_map
from multismolvla.evaluation.outcome import EpisodeKey, Outcome, OutcomeLog, from_line
from multismolvla.evaluation.summary import headlines, summarize
from multismolvla.faults.record import MaskRecord
from multismolvla.pictures.film import Clip, read_video, write_video_wall
from multismolvla.streams import Stream, StreamTable

KEY = EpisodeKey("runs/small@1f2e3d4c", "clean", "red_cube_in_bin", 7)


def outcomes(condition: str, successes: int, trials: int = 20, **key) -> list[Outcome]:
    return [
        Outcome(
            replace(KEY, condition=condition, seed=seed, **key),
            success=seed < successes,
            duration_s=4.0 if seed < successes else 20.0,
        )
        for seed in range(trials)
    ]


@given(
    success=st.booleans(),
    duration_s=st.floats(0, 100),
    delays=st.dictionaries(st.sampled_from(["rgb", "depth"]), st.none() | st.floats(0, 9)),
    error=st.text(),
)
def test_an_outcome_survives_its_line(success, duration_s, delays, error):
    outcome = Outcome(
        KEY, success, duration_s, onset_s=1.0, masked_after_s=delays, policy_error=error
    )
    line = outcome.to_line()
    assert "\n" not in line and from_line(line) == outcome


def test_a_log_goes_on_where_it_was_cut_off(tmp_path):
    file = tmp_path / "run" / "outcomes.jsonl"
    made = outcomes("clean", 2, 3)
    log = OutcomeLog(file)
    for outcome in made:
        log.add(outcome)
    file.write_text(file.read_text()[:-30])
    again = OutcomeLog(file)
    assert list(again.outcomes.values()) == made[:2]
    again.add(made[2])
    assert list(OutcomeLog(file).outcomes.values()) == made


def test_a_damaged_line_is_named(tmp_path):
    file = tmp_path / "outcomes.jsonl"
    file.write_text(outcomes("clean", 1, 1)[0].to_line() + '\n{"policy": 3}\n')
    with pytest.raises(ValueError, match=r"outcomes.jsonl: line 2: not an outcome"):
        OutcomeLog(file)


def test_a_summary_counts_and_takes_medians():
    (row,) = summarize(outcomes("clean", 15))
    assert (row.trials, row.successes, row.rate) == (20, 15, 0.75)
    assert row.low < 0.75 < row.high and row.time_s == 4.0
    assert row.per_minute == pytest.approx(60 * 15 / (15 * 4.0 + 5 * 20.0))
    (lost,) = summarize(outcomes("clean", 0))
    assert math.isnan(lost.time_s) and lost.per_minute == 0.0


def test_damage_that_came_after_the_end_is_no_damage():
    over = Outcome(KEY, True, 2.0, onset_s=3.0, masked_after_s={"rgb": None})
    seen = Outcome(replace(KEY, seed=8), True, 5.0, onset_s=3.0, masked_after_s={"rgb": 0.2})
    (row,) = summarize([over, seen])
    assert row.masked_share == 1.0 and row.masked_after_s == 0.2


def test_headlines_are_what_the_targets_are_about():
    made = [
        *outcomes("clean", 20),
        *outcomes("drop:rgb", 19),
        *outcomes("drop:wrist/depth", 16),
        *outcomes("drop:rgb+depth", 3),
        *outcomes("drop:rgb@mid", 3),
        *outcomes("drop:all-rgb", 2),
        *outcomes("drop:all-rgb@mid", 17),
        *outcomes("only:all-depth", 14),
        *outcomes("only:all-thermal", 12),
        *outcomes("only:all-thermal@mid", 1),
        *outcomes("noise-2:all-rgb", 18),
        *outcomes("late-2:all-rgb", 12),
        *outcomes("late-3:all-rgb", 0),
    ]
    (headline,) = headlines(summarize(made))
    assert headline.clean == 1.0 and headline.one_stream == 0.8
    assert headline.rgb_middle == 0.85 and headline.one_modality == 0.6
    assert headline.soft == pytest.approx(0.75)
    report = render_report(summarize(made))
    # Reached in bold, missed not.
    assert "| **100 %** | 80 % | **85 %** | 60 % | 75 % |" in report


def test_the_report_compares_detector_and_oracle_and_both_executions():
    made = [
        *outcomes("drop:rgb", 16),
        *outcomes("drop:rgb", 17, masks="oracle"),
        *outcomes("clean", 20, latency_s=0.2),
        *outcomes("clean", 20, latency_s=0.2, queue_threshold=0.7),
        *[
            replace(outcome, duration_s=8.0)
            for outcome in outcomes("clean", 20, latency_s=0.2, execution="synchronous")
        ],
    ]
    report = render_report(summarize(made))
    assert "-5.0 |" in report and "On average -5.0 points" in report
    comparison = report.split("## Asynchronous against synchronous")[1].split("##")[0]
    rows = comparison.strip().splitlines()[2:]
    lines = [[cell.strip() for cell in row[1:-1].split("|")] for row in rows]
    # The one with another threshold has nothing to be compared with.
    assert [line[3] for line in lines] == ["synchronous", "asynchronous"]
    assert lines[1][5:7] == ["4.00", "50%"] and lines[0][5:7] == ["8.00", ""]
    plain = render_report(summarize(outcomes("clean", 3)))
    assert "Asynchronous" not in plain and "Cost of detection" not in plain


@pytest.mark.parametrize("policies", [1, 2])
def test_the_heat_map_is_green_for_success_and_red_for_failure(tmp_path, policies):
    made = [*outcomes("clean", 20), *outcomes("drop:rgb", 0)]
    if policies == 2:
        made += [*outcomes("clean", 20, policy="expert"), *outcomes("drop:rgb", 0, policy="expert")]
    write_heat_map(tmp_path / "map.png", made)
    picture = cv2.imread(str(tmp_path / "map.png"))
    blue, green, red = (picture[..., channel].astype(int) for channel in range(3))
    greenish = np.argwhere((green > red + 60) & (green > blue))
    reddish = np.argwhere((red > green + 60) & (red > blue))
    assert len(greenish) > 500 and len(reddish) > 500
    # The clean row comes first.
    left = picture.shape[1] // 2
    assert np.median(greenish[greenish[:, 1] < left, 0]) < np.median(
        reddish[reddish[:, 1] < left, 0]
    )


def test_masks_are_recorded_against_the_truth():
    record = MaskRecord(["rgb"])
    for tick in range(100):
        now_s = tick * 0.02
        # The labels are made from what is broken: their loss is neither false nor a detection.
        broken = {"rgb", "segmentation"} if now_s >= 1.0 else set()
        usable = {"rgb": now_s < 1.2, "segmentation": now_s < 1.1, "depth": tick != 10}
        record.add(now_s, usable, broken, 1.0)
    assert record.masked_after_s == {"rgb": pytest.approx(0.2, abs=0.02)}
    # 50 ticks of rgb and of labels before the damage, 100 of depth with one false mask.
    assert record.false_share == pytest.approx(1 / 200)


def test_clips_play_side_by_side_until_the_longest_ends(tmp_path):
    table = StreamTable(
        (
            Stream("rgb", "rgb", 32, 32, 15.0, "top_camera_optical_frame"),
            Stream("depth", "depth", 32, 32, 15.0, "top_camera_optical_frame"),
            Stream("wrist/depth", "depth", 32, 32, 15.0, "wrist_camera_optical_frame"),
        )
    )
    frames = {
        "rgb": np.full((32, 32, 3), (200, 30, 30), np.uint8),
        "depth": np.full((32, 32), 0.4, np.float32),
        "wrist/depth": np.full((32, 32), 0.4, np.float32),
    }
    for name, count in (("short", 6), ("long", 15)):
        clip = Clip(table)
        for index in range(count):
            clip.on_frames(index / 15, frames, {"rgb": True})
        clip.write(tmp_path / f"{name}.mp4")
    write_video_wall(tmp_path / "wall.mp4", {n: tmp_path / f"{n}.mp4" for n in ("short", "long")})
    walls = list(read_video(tmp_path / "wall.mp4"))
    # One picture in three frames.
    assert len(walls) == 5
    # Two clips of two views each: the top camera's colour, and its wrist's depth, crossed out.
    height, width = walls[0].shape[:2]
    assert walls[0][height // 2, width // 8, 2] > 120 and width == 4 * 192
    with pytest.raises(ValueError, match="no clips"):
        write_video_wall(tmp_path / "none.mp4", {})
