"""The tables of LIBERO-plus' Sensor Noise, from made-up outcomes."""

from multismolvla.evaluation.outcome import EpisodeKey, Outcome
from multismolvla.evaluation.sensor_noise_report import render_sensor_noise
from multismolvla.evaluation.summary import summarize


def outcome(condition: str, task: str, success: bool, policy: str = "small-libero") -> Outcome:
    return Outcome(EpisodeKey(policy, condition, task, 0), success, 5.0)


def render(outcomes: list[Outcome]) -> str:
    return render_sensor_noise(outcomes, summarize(outcomes))


def row(report: str, name: str) -> list[str]:
    (line,) = [line for line in report.splitlines() if line.startswith(f"| {name} |")][:1]
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_success_by_corruption_severity_and_suite():
    fog = "plus_fog-7:agentview/rgb"
    report = render(
        [
            outcome(fog, "object/0", True),
            outcome(fog, "object/1", False),
            outcome("plus_motion_blur-10:agentview/rgb", "spatial/0", True),
            outcome("clean", "object/0", False),
        ]
    )
    assert row(report, "fog") == ["fog", *[""] * 6, "50% (2)", "", "", "", "50% (2)"]
    assert row(report, "motion blur")[-2:] == ["100% (1)", "100% (1)"]
    assert row(report, "all")[-1] == "67% (3)"
    assert row(report, "object")[1::2] == ["50.0%", "2 of 422"]
    assert "3 of 1601" in report


def test_policies_have_tables_of_their_own():
    fog = "plus_fog-7:agentview/rgb"
    report = render([outcome(fog, "object/0", True), outcome(fog, "object/0", False, "other")])
    assert report.count("### ") == 2 and "50%" not in report


def test_a_report_without_them_says_nothing_of_them():
    assert render([outcome("clean", "object/0", True)]) == ""
