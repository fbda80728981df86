"""LIBERO-plus' Sensor Noise in tables: by corruption and severity, and by suite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from multismolvla.evaluation.evaluation_report import label
from multismolvla.evaluation.outcome import Outcome
from multismolvla.evaluation.summary import Row, Setting, setting_of
from multismolvla.evaluation.wilson import wilson_interval
from multismolvla.faults.sensor_noise import SENSOR_NOISE, SensorNoise
from multismolvla.markdown import table
from multismolvla.sim.libero.plus import EPISODES

_CONDITION = re.compile(r"(plus_[a-z_]+)-(\d+):agentview/rgb")


def render_sensor_noise(outcomes: Iterable[Outcome], rows: Sequence[Row]) -> str:
    """The part of a report that is about them, "" if there are no such episodes.

    Args:
        rows: of the whole report, from which settings take their names.
    """
    groups: dict[Setting, list[tuple[str, int, Outcome]]] = {}
    for outcome in outcomes:
        match = _CONDITION.fullmatch(outcome.key.condition)
        if match:
            noisy = match[1], int(match[2]), outcome
            groups.setdefault(setting_of(outcome), []).append(noisy)
    if not groups:
        return ""
    parts = [
        "",
        "## LIBERO-plus: Sensor Noise",
        "Success, and in brackets of how many episodes. Only `agentview/rgb` is damaged; every "
        "other stream of the policy is sound.",
    ]
    for setting, noisy in groups.items():
        parts += [f"### {label(setting, rows)}", _by_severity(noisy), _by_suite(noisy)]
    return "\n\n".join(parts) + "\n"


def _by_severity(noisy: Sequence[tuple[str, int, Outcome]]) -> str:
    lines = []
    for name in [*SENSOR_NOISE, ""]:
        own = [(level, outcome) for noise, level, outcome in noisy if name in ("", noise)]
        cells = [
            _rate([outcome for level, outcome in own if level == wanted])
            for wanted in SensorNoise.levels
        ]
        title = name.removeprefix("plus_").replace("_", " ") or "all"
        lines.append([title, *cells, _rate([outcome for _, outcome in own])])
    return table(["corruption", *(f"severity {n}" for n in SensorNoise.levels), "all"], lines)


def _by_suite(noisy: Sequence[tuple[str, int, Outcome]]) -> str:
    lines = []
    for suite in [*EPISODES, ""]:
        own = [
            outcome for _, _, outcome in noisy if suite in ("", outcome.key.task.partition("/")[0])
        ]
        if own:
            successes = sum(outcome.success for outcome in own)
            low, high = wilson_interval(successes, len(own))
            all_of_it = EPISODES[suite] if suite else sum(EPISODES.values())
            lines.append(
                [
                    suite or "all",
                    f"{successes / len(own):.1%}",
                    f"{low:.1%} to {high:.1%}",
                    f"{len(own)} of {all_of_it}",
                ]
            )
    return table(["suite", "success", "95 %", "episodes"], lines)


def _rate(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return ""
    return f"{sum(o.success for o in outcomes) / len(outcomes):.0%} ({len(outcomes)})"
