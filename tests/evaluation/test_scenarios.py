"""Scenarios in the closed loop, and the command that runs them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import pytest
import yaml

from multismolvla.evaluation.episode import run_scenario
from multismolvla.evaluation.outcome import EpisodeKey
from multismolvla.evaluation.scenarios import command as scenarios
from multismolvla.evaluation.scenarios.verdict import ScenarioRun
from multismolvla.faults.fault import JOINT_STATES
from multismolvla.faults.scenario import Expectations, Scenario, ScheduledFault
from multismolvla.sim.expert_policy import ExpertPolicy
from multismolvla.stack.closed_loop import ClosedLoop
from multismolvla.stack.policy_loading import committed_s
from multismolvla.streams import StreamTable, load_stream_table

TABLE = load_stream_table(Path(__file__).parents[2] / "config" / "streams.yaml")
EYES = StreamTable(
    tuple(replace(TABLE[name], height=48, width=48) for name in ("rgb", "depth", "thermal"))
)
KEY = EpisodeKey("expert", "made up", "red_cube_in_bin", 1)


@pytest.fixture(scope="module")
def loop():
    loop = ClosedLoop(EYES)
    yield loop
    loop.close()


def run(loop, *faults: ScheduledFault, **settings):
    scenario = Scenario("made up", faults, **settings)
    outcome, record = run_scenario(loop, ExpertPolicy(committed_s(0.1)), KEY, scenario)
    return ScenarioRun(scenario, outcome, record, 1.0, loop.settings.driver.max_velocity_rad_s)


def test_a_stream_is_masked_while_its_fault_lasts_and_comes_back(loop):
    made = run(loop, ScheduledFault("rgb", "drop", 0.8, 1.0))
    (result,) = made.record.results
    # Two periods of 1/15 s, a second look, and the grid of the control loop; five good frames.
    assert 0.06 < result.masked_after_s < 0.16
    assert 0.3 < result.recovered_after_s < 0.45
    assert made.record.false_alarms == 0 and made.failures == []
    assert 0.5 < made.record.fastest_rad_s <= 3.0 + 1e-6


def test_the_same_scenario_comes_out_the_same(loop):
    faults = (
        ScheduledFault("rgb", "burst_loss", 0.3, 2.0, severity=4),
        ScheduledFault("depth+thermal", "jitter", 0.3, 2.0, severity=5),
    )
    first, again = run(loop, *faults), run(loop, *faults)
    assert first.outcome == again.outcome
    assert first.record.results == again.record.results


def test_without_joint_states_the_arm_holds_and_then_goes_on(loop):
    made = run(loop, ScheduledFault(JOINT_STATES, "drop", 0.8, 1.5))
    (result,) = made.record.results
    assert result.masked_after_s == pytest.approx(0.5, abs=0.03)
    assert result.recovered_after_s <= 0.04
    assert made.outcome.success and made.outcome.hold_share > 0.1
    whole = run(loop)
    assert made.outcome.duration_s > whole.outcome.duration_s + 0.8 and whole.failures == []


@pytest.mark.parametrize("fault", ["wrong_encoding", "truncated_data", "black", "stamp_offset"])
def test_what_no_policy_can_use_is_masked(loop, fault):
    made = run(loop, ScheduledFault("depth", fault, 0.5, 1.0, severity=5))
    (result,) = made.record.results
    assert result.masked_after_s < 0.25 and result.recovered_after_s < 0.5


def test_an_episode_goes_on_until_every_fault_is_over(loop):
    made = run(loop, ScheduledFault("thermal", "drop", 4.5, 0.5))
    assert made.outcome.success and made.outcome.duration_s < 4.0
    assert made.record.results[0].masked_after_s is not None


def test_everything_that_was_expected_and_did_not_come_is_told(loop):
    expect = Expectations(masked_within_s=0.01, warned_within_s=0.01, recovered_within_s=0.01)
    drop = ScheduledFault("rgb", "drop", 0.8, 1.0, expect=expect)
    blur = ScheduledFault("depth", "late", 0.8, 1.0, severity=1, expect=expect)
    kept = ScheduledFault("thermal", "drop", 0.8, 1.0, expect=Expectations(stays_in_use=True))
    failures = run(loop, drop, blur, kept, success=False).failures
    assert failures[0].startswith("rgb: drop: masked after 0.1")
    assert failures[3:5] == [
        "depth: late: never masked; expected within 0.01 s",
        "depth: late: never warned of; expected within 0.01 s",
    ]
    assert failures[5].endswith("expected to stay in use")
    assert failures[6] == "task: succeeded; expected no success"


def command(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    scenarios.add_arguments(parser)
    return scenarios.main(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def files(tmp_path):
    """A scenario that passes, one that fails, and a small stream table."""
    folder = tmp_path / "scenarios"
    folder.mkdir()
    broken = "faults: [{stream: rgb, fault: drop, start: 0.5, duration: 0.5}]\n"
    (folder / "good.yaml").write_text(broken + "expect: {masked_within_s: 0.2, success: true}\n")
    (folder / "hard.yaml").write_text(broken + "expect: {masked_within_s: 0.01}\n")
    streams = [{**vars(stream), "derived_from": []} for stream in EYES]
    (tmp_path / "streams.yaml").write_text(yaml.safe_dump({"streams": streams}))
    return folder


def test_the_command_reports_and_its_status_tells(files, tmp_path, capsys):
    options = ("--streams", tmp_path / "streams.yaml", "--out", tmp_path / "out")
    assert command(files / "good.yaml", *options, "--rate", 30) == 0
    assert "1 of 1 passed" in capsys.readouterr().out
    assert command(files, *options) == 1
    report = (tmp_path / "out" / "report.md").read_text()
    assert "1 of 2 passed" in report and "| `good` | `drop` | rgb | 0.5 to 1 |" in report
    assert "`hard`: rgb: drop: masked after 0.1" in report
    height, width = cv2.imread(str(tmp_path / "out" / "timeline.png")).shape[:2]
    assert height > 100 and width > 800
    suite = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite if case.find("failure") is None] == ["good"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["nowhere.yaml"], "nowhere.yaml: cannot read the scenario"),
        (["--rate", "7"], "cameras at 7 Hz; expected a divisor of 300"),
        (["--rate", "-1"], "--rate is -1; expected a positive number"),
        (["--policy", "nobody"], "policy is 'nobody', which no installed package offers"),
        (["--streams", "nowhere.yaml"], "nowhere.yaml: cannot read the stream table"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(files, capsys, arguments, part):
    if not arguments[0].endswith(".yaml"):
        arguments = [files / "good.yaml", *arguments]
    assert command(*arguments) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("multismolvla scenarios: ") and part in said


def test_the_faults_can_be_listed(capsys):
    assert command("--list-faults") == 0
    assert "| `stamp_drift` |" in capsys.readouterr().out
