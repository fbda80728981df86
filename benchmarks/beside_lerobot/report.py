"""What the policy bench measured: against its targets, as a table, as JSON and as a chart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

from beside_lerobot.rows import Target
from multismolvla import markdown

matplotlib.use("Agg")
import matplotlib.pyplot as plt

REFERENCE, OURS, LIMIT = "#8d8d8d", "#30638e", "#d1495b"
MIB = 2**20
COLUMNS = (
    "row",
    "time",
    "quartiles",
    "of processors",
    "speed",
    "action difference",
    "of the flow",
    "peak memory",
    "targets",
)
# How a target is written: its quantity and the format of its value.
WORDS = {
    "speed": ("speed", "{:.2f}x"),
    "difference": ("difference", "{:.0e}"),
    "memory": ("memory", "{:.2f}x"),
    "median_s": ("time", "{:.3g} s"),
}


@dataclass(frozen=True)
class Measurement:
    """One row, measured.

    Attributes:
        wall_s: of every round.
        processor_s: of every round, all threads together; where the machine was busy with other
            things, it grows less than `wall_s`.
        peak_memory_bytes: most that the process has held, loading included; None if not measured.
        speed: times LeRobot's, the median over the rounds; None without LeRobot.
        memory: peak over LeRobot's.
        difference: largest of any action from LeRobot's, over its largest action.
        flow_difference: the same over the largest distance from the noise to an action, which
            noise cannot dilute.
    """

    name: str
    wall_s: tuple[float, ...]
    targets: tuple[Target, ...] = ()
    processor_s: tuple[float, ...] = ()
    peak_memory_bytes: int | None = None
    speed: float | None = None
    memory: float | None = None
    difference: float | None = None
    flow_difference: float | None = None

    @property
    def median_s(self) -> float:
        return statistics.median(self.wall_s)

    @property
    def quartiles_s(self) -> tuple[float, float]:
        if len(self.wall_s) < 2:
            return self.median_s, self.median_s
        low, _, high = statistics.quantiles(self.wall_s, n=4, method="inclusive")
        return low, high

    def verdicts(self) -> list[tuple[Target, float | None, bool | None]]:
        """Each target with the value reached and whether it will do, None where unknown."""
        values = [(target, getattr(self, target.quantity)) for target in self.targets]
        return [(t, value, None if value is None else t.met(value)) for t, value in values]


def table(measurements: Sequence[Measurement], left_out: Mapping[str, str] | None = None) -> str:
    """Markdown, one line per row.

    Args:
        left_out: row that could not be measured -> why.
    """
    rows = []
    for m in measurements:
        cells = [
            m.name,
            _time(m.median_s),
            " to ".join(_time(quartile) for quartile in m.quartiles_s),
            _time(statistics.median(m.processor_s)) if m.processor_s else "",
            "" if m.speed is None else f"{m.speed:.2f}x",
            "" if m.difference is None else f"{m.difference:.1e}",
            "" if m.flow_difference is None else f"{m.flow_difference:.1e}",
            "" if m.peak_memory_bytes is None else f"{m.peak_memory_bytes / MIB:.0f} MiB",
            "; ".join(_verdict(*verdict) for verdict in m.verdicts()),
        ]
        rows.append(cells)
    for name, why in (left_out or {}).items():
        reason = " ".join(why.split()).replace("|", "/")
        rows.append([name, reason, *[""] * (len(COLUMNS) - 2)])
    return markdown.table(COLUMNS, rows) + "\n"


def as_json(m: Measurement) -> dict[str, Any]:
    return {
        "name": m.name,
        "median_s": m.median_s,
        "quartiles_s": m.quartiles_s,
        "wall_s": m.wall_s,
        "processor_s": m.processor_s,
        "speed": m.speed,
        "difference": m.difference,
        "flow_difference": m.flow_difference,
        "peak_memory_bytes": m.peak_memory_bytes,
        "memory": m.memory,
        "targets": [
            {
                "quantity": target.quantity,
                "at_least" if target.more_is_better else "at_most": target.limit,
                "value": value,
                "met": met,
            }
            for target, value, met in m.verdicts()
        ],
    }


def write_picture(
    path: Path, comparisons: Sequence[tuple[str, Sequence[Measurement]]], where: str = ""
) -> None:
    """One panel per comparison: median and quartiles of every row, and its longest time allowed.

    Args:
        where: what it was measured on, as one line below.
    """
    figure, panels = plt.subplots(
        len(comparisons),
        1,
        figsize=(9, 0.7 + sum(0.9 + 0.42 * len(rows) for _, rows in comparisons)),
        height_ratios=[1.5 + len(rows) for _, rows in comparisons],
        layout="constrained",
        squeeze=False,
    )
    for axes, (name, rows) in zip(panels[:, 0], comparisons, strict=True):
        for place, row in enumerate(rows):
            low, high = row.quartiles_s
            median = row.median_s
            colour = REFERENCE if row.name.startswith("LeRobot") else OURS
            error = [[median - low], [high - median]]
            axes.barh(place, median, 0.6, xerr=error, color=colour, ecolor="0.2", capsize=3)
            text = f" {_time(median)}" + (f", {row.speed:.2f}x" if row.speed else "")
            longest = _longest(row, rows[0])
            axes.annotate(text, (max(high, longest or 0.0), place), va="center", fontsize=9)
            if longest is not None:
                axes.plot([longest] * 2, [place - 0.4, place + 0.4], color=LIMIT, linewidth=2)
        axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=9)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.margins(x=0.2)
        axes.set_xlim(left=0.0)
        axes.set_title(name, fontsize=10, loc="left")
    legend = "seconds; whiskers: quartiles, red: target"
    panels[-1, 0].set_xlabel(f"{legend}\n{where}" if where else legend)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _longest(row: Measurement, reference: Measurement) -> float | None:
    """The time that the row's target allows."""
    for target in row.targets:
        if target.quantity == "median_s":
            return target.limit
        if target.quantity == "speed" and row.speed is not None:
            return reference.median_s / target.limit
    return None


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1.0 else f"{1e3 * seconds:.1f} ms"


def _verdict(target: Target, value: float | None, met: bool | None) -> str:
    word, how = WORDS[target.quantity]
    bound = f"{word} {'>=' if target.more_is_better else '<='} {how.format(target.limit)}"
    if value is None or met is None:
        return f"{bound}: not measured"
    return f"{bound}: {'met' if met else 'NOT met'}"
