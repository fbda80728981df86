"""When a scenario has failed, and how its reports say so."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from multismolvla.evaluation.outcome import EpisodeKey, Outcome
from multismolvla.evaluation.scenarios.report import render_junit, render_markdown, totals
from multismolvla.evaluation.scenarios.verdict import ScenarioRun
from multismolvla.faults.record import FaultRecord, FaultResult
from multismolvla.faults.scenario import Expectations, Scenario, ScheduledFault
from multismolvla.streams import StreamTable

KEY = EpisodeKey("expert", "made_up", "red_cube_in_bin", 1)


def run_of(
    results=(), outcome=None, alarms: int = 0, fastest_rad_s: float = 1.0, **scenario
) -> ScenarioRun:
    faults = tuple(result.scheduled for result in results)
    made = Scenario("made_up", faults, **scenario)
    record = FaultRecord(replace(made, faults=()), StreamTable(()))
    record.results, record.false_alarms = list(results), alarms
    record.fastest_rad_s = fastest_rad_s
    return ScenarioRun(made, outcome or Outcome(KEY, True, 6.0), record, 2.0, limit_rad_s=3.0)


def result(expect: Expectations, **measured) -> FaultResult:
    return FaultResult("rgb", ScheduledFault("rgb", "drop", 1.0, 2.0, expect=expect), **measured)


LIMITS = Expectations(masked_within_s=0.2, warned_within_s=0.2, recovered_within_s=0.5)


def test_a_limit_that_is_just_kept_is_kept():
    kept = result(LIMITS, masked_after_s=0.2, warned_after_s=0.1, recovered_after_s=0.5)
    assert run_of([kept]).failures == []


@pytest.mark.parametrize(
    ("measured", "line"),
    [
        ({"masked_after_s": 0.21}, "rgb: drop: masked after 0.21 s; expected within 0.2 s"),
        ({"masked_after_s": None}, "rgb: drop: never masked; expected within 0.2 s"),
        ({"warned_after_s": None}, "rgb: drop: never warned of; expected within 0.2 s"),
        ({"recovered_after_s": 0.9}, "rgb: drop: recovered after 0.90 s; expected within 0.5 s"),
    ],
)
def test_each_limit_that_is_missed_is_a_line(measured, line):
    fine = {"masked_after_s": 0.1, "warned_after_s": 0.1, "recovered_after_s": 0.1}
    assert run_of([result(LIMITS, **(fine | measured))]).failures == [line]


def test_what_is_not_expected_is_not_judged():
    assert run_of([result(Expectations())]).failures == []
    masked = result(Expectations(stays_in_use=True), masked_after_s=0.3)
    assert run_of([masked]).failures == [
        "rgb: drop: masked after 0.30 s; expected to stay in use",
    ]


@pytest.mark.parametrize(
    ("wanted", "came", "failures"),
    [
        (True, True, []),
        (True, False, ["task: not done after 6 s; expected success"]),
        (False, True, ["task: succeeded; expected no success"]),
        (False, False, []),
        (None, False, []),
    ],
)
def test_the_task_is_judged_where_something_is_expected_of_it(wanted, came, failures):
    assert run_of(outcome=Outcome(KEY, came, 6.0), success=wanted).failures == failures


def test_alarms_speed_and_errors_of_the_policy_fail_a_scenario_that_succeeded():
    broken = Outcome(KEY, True, 6.0, policy_error="no weights")
    assert run_of(outcome=broken, alarms=2, fastest_rad_s=3.1).failures == [
        "the policy failed: no weights",
        "2 false alarms: a sound stream was masked",
        "a joint's goal moved at 3.10 rad/s; the clamp is 3",
    ]
    assert run_of(fastest_rad_s=3.0 * (1 + 1e-9)).failures == [], "rounding is no speeding"


def test_the_reports_count_what_passed_and_name_what_failed():
    late = run_of([result(LIMITS, masked_after_s=0.4, warned_after_s=0.1, recovered_after_s=0.2)])
    runs = [run_of(), late]
    suite = ElementTree.fromstring(render_junit(runs))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    (failure,) = suite.iter("failure")
    assert failure.get("message") == "rgb: drop: masked after 0.40 s; expected within 0.2 s"
    page = render_markdown(runs)
    assert "1 of 2 passed." in page and f"* `made_up`: {failure.get('message')}" in page
    rows = [line for line in page.splitlines() if line.startswith("| `made_up`")]
    assert [row.count("|") for row in rows] == [10, 10]
    assert rows[1].endswith("| failed |") and "0.40 / 0.2" in rows[1]


def test_totals_are_over_what_is_expected_only():
    seen = result(LIMITS, masked_after_s=0.1, warned_after_s=0.1, recovered_after_s=0.3)
    unseen = result(LIMITS, warned_after_s=0.1, recovered_after_s=0.3)
    ignored = result(Expectations(), masked_after_s=1.5)
    first = totals([run_of([seen, unseen, ignored])])[0]
    assert first.startswith("masked: 1 of 2 that are expected to be, after 0.10 s")
