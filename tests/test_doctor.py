"""The form that check-ups share: lines, JSON and exit status."""

import json

import pytest

from multismolvla.doctor import Finding, error, exit_status, report, warning

ODD = warning("info.json", "fps", "is 29.97; expected a whole number", "re-encode it")
WRONG = error("info.json", "features", "is []; expected keys and values")


def test_the_worst_finding_is_the_exit_status():
    assert exit_status([]) == 0
    assert exit_status([ODD]) == 1
    assert exit_status([ODD, WRONG, ODD]) == 2


def test_a_report_has_facts_then_errors_then_warnings(capsys):
    assert report("set", [ODD, WRONG], facts={"frames": 6, "cameras": ["front", "wrist"]}) == 2
    assert capsys.readouterr().out.splitlines() == [
        "frames: 6",
        "cameras: front, wrist",
        "error: info.json: features: is []; expected keys and values",
        "warning: info.json: fps: is 29.97; expected a whole number. Fix: re-encode it",
        "set: 1 error, 1 warning",
    ]


def test_what_is_right_says_so(capsys):
    assert report("set", []) == 0
    assert capsys.readouterr().out == "set: nothing wrong\n"


def test_json_holds_the_same(capsys):
    assert report("set", [ODD], as_json=True, facts={"frames": 6}) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["status"] == "warning" and content["facts"] == {"frames": 6}
    assert content["findings"] == [
        {
            "severity": "warning",
            "file": "info.json",
            "key": "fps",
            "what": "is 29.97; expected a whole number",
            "fix": "re-encode it",
        }
    ]


def test_a_finding_is_one_line_and_of_a_known_severity():
    assert str(error("a", "", "two\n lines")) == "error: a: two lines"
    with pytest.raises(ValueError, match="severity is 'fatal'"):
        Finding("fatal", "a", "", "b")
