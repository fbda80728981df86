"""What scenarios did, as a chart and a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import matplotlib

from multismolvla.evaluation.scenarios.verdict import ScenarioRun
from multismolvla.faults.record import FaultResult
from multismolvla.markdown import table

# Faults and masks over time, a row for each broken stream: the report at one look.

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FAULT, MASK, FAILED = "0.8", "tab:red", "tab:red"
ROW_INCHES = 0.17


def write_chart(path: Path, runs: Sequence[ScenarioRun]) -> None:
    """Write a PNG: grey where a fault lasts, red where the stream is masked.

    The name of a scenario that failed is red. Scenarios without faults have no row.
    """
    rows = [
        (run, stream)
        for run in runs
        for stream in dict.fromkeys(result.stream for result in run.record.results)
    ]
    end_s = max((_ended_s(run) for run, _ in rows), default=1.0)
    figure, axes = plt.subplots(figsize=(9.0, 1.2 + ROW_INCHES * len(rows)), layout="constrained")
    for row, (run, stream) in enumerate(rows):
        lasting = [
            (result.scheduled.start_s, result.scheduled.end_s or _ended_s(run))
            for result in run.record.results
            if result.stream == stream
        ]
        axes.broken_barh(_bars(lasting), (row - 0.45, 0.9), color=FAULT)
        axes.broken_barh(_bars(run.record.masked.get(stream, [])), (row - 0.2, 0.4), color=MASK)
    names = [
        f"{run.scenario.name}  {stream}" if rows[row - 1][0] is not run or row == 0 else stream
        for row, (run, stream) in enumerate(rows)
    ]
    axes.set_yticks(range(len(rows)), names, fontsize=6)
    for label, (run, _) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(FAILED if run.failures else "black")
    axes.set(xlim=(0.0, end_s), ylim=(len(rows) - 0.4, -0.6), xlabel="s after the instruction")
    axes.set_title("fault (grey) and mask (red)", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _ended_s(run: ScenarioRun) -> float:
    """When the episode was over."""
    return max(run.scenario.lasts_s, run.outcome.duration_s)


def _bars(intervals: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """(start, length) of each interval."""
    return [(start_s, end_s - start_s) for start_s, end_s in intervals]


# What came of scenarios: Markdown for people, JUnit XML for machines.

HEADER = [
    "scenario",
    "fault",
    "stream",
    "lasts",
    "warned",
    "masked",
    "recovered",
    "task",
    "verdict",
]


def render_markdown(runs: Sequence[ScenarioRun]) -> str:
    """A report: totals, a row for each fault and stream, and what failed."""
    passed = sum(not run.failures for run in runs)
    lines = ["# Fault scenarios", "", f"{passed} of {len(runs)} passed.", ""]
    lines += [f"* {line}" for line in totals(runs)]
    lines += [
        "",
        "In seconds: measured / limit.",
        "",
        table(HEADER, (row for run in runs for row in _rows(run))),
    ]
    if passed < len(runs):
        lines += ["", "## Failures", ""]
        lines += [f"* `{run.scenario.name}`: {line}" for run in runs for line in run.failures]
    return "\n".join(lines) + "\n"


def totals(runs: Sequence[ScenarioRun]) -> list[str]:
    """Detection, recovery, false alarms and speed over all scenarios, a line each."""
    results = [result for run in runs for result in run.record.results]
    hard = [r.masked_after_s for r in results if r.expect.masked_within_s is not None]
    soft = [r.warned_after_s for r in results if r.expect.warned_within_s is not None]
    ended = [r.recovered_after_s for r in results if r.expect.recovered_within_s is not None]
    lines = []
    for name, delays in (("masked", hard), ("warned of", soft), ("recovered", ended)):
        known = [delay for delay in delays if delay is not None]
        if known:
            lines.append(
                f"{name}: {len(known)} of {len(delays)} that are expected to be, "
                f"after {statistics.median(known):.2f} s (median), {max(known):.2f} s (worst)"
            )
    alarms = sum(run.record.false_alarms for run in runs)
    minutes = sum(_simulated_s(run) for run in runs) / 60.0
    fastest = max((run.record.fastest_rad_s for run in runs), default=0.0)
    lines.append(f"false alarms: {alarms} in {minutes:.1f} simulated minutes of all streams")
    lines.append(f"fastest goal of a joint: {fastest:.2f} rad/s")
    return lines


def render_junit(runs: Sequence[ScenarioRun]) -> str:
    """JUnit XML: one test case for each scenario, with a failure for each wrong expectation."""
    suite = ElementTree.Element(
        "testsuite",
        name="scenarios",
        tests=str(len(runs)),
        failures=str(sum(bool(run.failures) for run in runs)),
        errors="0",
        time=f"{sum(run.wall_s for run in runs):.2f}",
    )
    for run in runs:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname="multismolvla.scenarios",
            name=run.scenario.name,
            time=f"{run.wall_s:.2f}",
        )
        if run.failures:
            failure = ElementTree.SubElement(case, "failure", message=run.failures[0])
            failure.text = "\n".join(run.failures)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _simulated_s(run: ScenarioRun) -> float:
    return max(run.outcome.duration_s, run.scenario.lasts_s)


def _rows(run: ScenarioRun) -> list[list[str]]:
    verdict = "failed" if run.failures else "passed"
    task = "-"
    if run.scenario.success is not None:
        task = f"{run.outcome.duration_s:.1f}" if run.outcome.success else "not done"
    rows, name = [], f"`{run.scenario.name}`"
    for result in run.record.results:
        rows.append([name, *_fault_cells(result), task, verdict])
        name = task = verdict = ""
    return rows or [[name, *[""] * 6, task, verdict]]


def _fault_cells(result: FaultResult) -> list[str]:
    scheduled, expect = result.scheduled, result.expect
    what = scheduled.fault + (f"-{scheduled.severity}" if scheduled.severity else "")
    lasts = f"from {scheduled.start_s:g}"
    if scheduled.end_s is not None:
        lasts = f"{scheduled.start_s:g} to {scheduled.end_s:g}"
    delays = (
        (result.warned_after_s, expect.warned_within_s),
        (result.masked_after_s, "never" if expect.stays_in_use else expect.masked_within_s),
        (None if scheduled.end_s is None else result.recovered_after_s, expect.recovered_within_s),
    )
    return [f"`{what}`", result.stream, lasts, *(_delay(*pair) for pair in delays)]


def _delay(took_s: float | None, limit: float | str | None) -> str:
    took = "-" if took_s is None else f"{took_s:.2f}"
    return took if limit is None else f"{took} / {limit}"
