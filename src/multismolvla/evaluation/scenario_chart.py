"""Faults and masks over time, a row for each broken stream: the report at one look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

from multismolvla.evaluation.scenario_verdict import ScenarioRun

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
