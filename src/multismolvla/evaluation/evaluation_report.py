"""The report of an evaluation in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from multismolvla.evaluation.summary import TARGETS, Headline, Row, Setting, headlines
from multismolvla.faults.conditions import CLEAN
from multismolvla.markdown import table
from multismolvla.stack.policy_loading import without_digest


def render_report(rows: Sequence[Row]) -> str:
    """Return the whole report; the parts that were not measured are left out."""
    parts = ["# Closed-loop evaluation", _intro(rows), "## In short", _headlines(rows)]
    if detection := _detection(rows):
        parts += ["## Cost of detection", detection]
    if execution := _execution(rows):
        parts += ["## Asynchronous against synchronous", execution]
    parts += ["## All conditions", *_conditions(rows)]
    return "\n\n".join(parts) + "\n"


def label(setting: Setting, rows: Sequence[Row]) -> str:
    """Name a setting by what distinguishes it from the others of this report."""
    settings = {row.setting for row in rows}
    policies = {without_digest(s.policy) for s in settings}
    folders = [Path(policy).name for policy in policies]
    name = without_digest(setting.policy)
    words = [Path(name).name if len(set(folders)) == len(folders) else name]
    if len({s.masks for s in settings}) > 1:
        words.append(f"{setting.masks} masks")
    if len({s.execution for s in settings}) > 1:
        words.append(setting.execution)
    if len({s.latency_s for s in settings}) > 1:
        words.append(f"{setting.latency_s * 1e3:.0f} ms")
    if len({s.queue_threshold for s in settings}) > 1:
        share = setting.queue_threshold
        words.append("threshold auto" if share is None else f"threshold {share:g}")
    return ", ".join([*words, *_chunk_words(setting, rows)])


def _chunk_words(setting: Setting, rows: Sequence[Row]) -> Iterator[str]:
    """How chunks are made and merged, where that differs within the report."""
    if len({row.setting.chunk_entry for row in rows}) > 1:
        yield f"merged by {setting.chunk_entry}"
    if len({row.setting.noise_scale for row in rows}) > 1:
        yield f"noise {setting.noise_scale:g}"


def _intro(rows: Sequence[Row]) -> str:
    policies = ", ".join(dict.fromkeys(f"`{row.setting.policy}`" for row in rows))
    latencies = ", ".join(f"{s * 1e3:.0f}" for s in sorted({r.setting.latency_s for r in rows}))
    return (
        f"{sum(row.trials for row in rows)} episodes in simulation; policies: {policies}; an "
        f"inference takes {latencies} ms of simulated time. Rates with their Wilson 95 % interval."
    )


def _headlines(rows: Sequence[Row]) -> str:
    lines = [["policy", *(words for words, _ in TARGETS.values())]]
    lines.append(["*target*", *(f"*at least {_percent(least)}*" for _, least in TARGETS.values())])
    for made in headlines(rows):
        lines.append([label(made.setting, rows), *(_judged(made, name) for name in TARGETS)])
    return table(lines[0], lines[1:])


def _judged(made: Headline, name: str) -> str:
    value = getattr(made, name)
    if math.isnan(value):
        return ""
    # As it is written: what reads 90 % has reached 90 %.
    met = round(value, 3) >= TARGETS[name][1]
    return f"**{_percent(value)}**" if met else _percent(value)


def _conditions(rows: Sequence[Row]) -> list[str]:
    parts = []
    for setting in dict.fromkeys(row.setting for row in rows):
        own = [row for row in rows if row.setting == setting]
        clean = next((row.rate for row in own if row.condition == CLEAN), 0.0)
        first = ["condition", "success", "95 %", "episodes", "of clean", "time to success (s)"]
        more = ["jerk (rad/s³)", "limit hits", "starved ticks", "masked after (s)", "false masks"]
        lines = [[*first, *more]]
        for row in own:
            masked = ""
            if not math.isnan(row.masked_share):
                masked = f"{_number(row.masked_after_s, 2)} ({_percent(row.masked_share)})"
            lines.append(
                [
                    f"`{row.condition}`",
                    _percent(row.rate),
                    f"{_percent(row.low)} to {_percent(row.high)}",
                    str(row.trials),
                    _percent(row.rate / clean) if clean else "",
                    _number(row.time_s, 1),
                    _number(row.jerk_rad_s3, 0),
                    _number(row.limit_hits, 1),
                    _number(row.starved_ticks, 1),
                    masked,
                    f"{row.false_mask_share:.2%}",
                ]
            )
        parts += [f"### {label(setting, rows)}", table(lines[0], lines[1:])]
    return parts


def _detection(rows: Sequence[Row]) -> str:
    """Conditions that were run with the detector's masks and with the oracle's."""
    by_key = {(row.setting, row.condition): row for row in rows}
    lines = [["policy", "condition", "detector", "oracle", "difference (points)"]]
    differences = []
    for (setting, condition), row in by_key.items():
        oracle = by_key.get((replace(setting, masks="oracle"), condition))
        if setting.masks != "detector" or oracle is None:
            continue
        differences.append(100.0 * (row.rate - oracle.rate))
        lines.append(
            [
                without_digest(setting.policy),
                f"`{condition}`",
                _interval(row),
                _interval(oracle),
                f"{differences[-1]:+.1f}",
            ]
        )
    if not differences:
        return ""
    mean = sum(differences) / len(differences)
    return (
        f"{table(lines[0], lines[1:])}\n\nOn average {mean:+.1f} points against the oracle's masks."
    )


def _execution(rows: Sequence[Row]) -> str:
    """Conditions that were run in both modes at the same latency."""
    by_key = {(row.setting, row.condition): row for row in rows}
    head = ["policy", "condition", "latency (ms)", "execution", "success", "time to success (s)"]
    lines = [[*head, "faster", "successes a minute", "starved ticks", "inferences"]]
    for (setting, condition), synchronous in by_key.items():
        if setting.execution != "synchronous":
            continue
        same = [
            row
            for (other, name), row in by_key.items()
            if name == condition
            and other.execution == "asynchronous"
            and replace(other, execution="synchronous") == setting
        ]
        for row in [synchronous, *same] if same else []:
            faster = 1.0 - row.time_s / synchronous.time_s
            share = row.setting.queue_threshold
            words = [row.setting.execution, *([] if share is None else [f"threshold {share:g}"])]
            lines.append(
                [
                    without_digest(setting.policy),
                    f"`{condition}`",
                    f"{setting.latency_s * 1e3:.0f}",
                    ", ".join([*words, *_chunk_words(row.setting, rows)]),
                    _interval(row),
                    _number(row.time_s, 2),
                    "" if row is synchronous or math.isnan(faster) else f"{faster:.0%}",
                    _number(row.per_minute, 1),
                    _number(row.starved_ticks, 1),
                    _number(row.inferences, 1),
                ]
            )
    return table(lines[0], lines[1:]) if len(lines) > 1 else ""


def _interval(row: Row) -> str:
    return f"{_percent(row.rate)} [{_percent(row.low)}, {_percent(row.high)}] of {row.trials}"


def _percent(share: float) -> str:
    return f"{100.0 * share:.3g} %"


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
