"""Success by condition as a heat map: the claim at one look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from multismolvla.evaluation.evaluation_report import label
from multismolvla.evaluation.outcome import Outcome
from multismolvla.evaluation.summary import setting_of, summarize

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def write_heat_map(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write a PNG with a row per condition.

    Columns are the policies and settings, or, where there is only one, its tasks.

    Raises:
        ValueError: there are no outcomes.
    """
    if not outcomes:
        raise ValueError("there are no outcomes to draw")
    settings = list(dict.fromkeys(setting_of(outcome) for outcome in outcomes))
    rows = summarize(outcomes)
    if len(settings) > 1:
        columns = [label(setting, rows) for setting in settings]
        placed = [(settings.index(setting_of(outcome)), outcome) for outcome in outcomes]
        title = "success by condition and policy"
    else:
        columns = list(dict.fromkeys(outcome.key.task for outcome in outcomes))
        placed = [(columns.index(outcome.key.task), outcome) for outcome in outcomes]
        title = f"success of {label(settings[0], rows)} by condition and task"
    conditions = list(dict.fromkeys(outcome.key.condition for outcome in outcomes))
    successes = np.zeros((len(conditions), len(columns)))
    trials = np.zeros_like(successes)
    for column, outcome in placed:
        row = conditions.index(outcome.key.condition)
        trials[row, column] += 1
        successes[row, column] += outcome.success
    rate = np.where(trials > 0, successes / np.maximum(trials, 1), np.nan)

    figure, axes = plt.subplots(
        figsize=(3.4 + 0.75 * len(columns), 1.8 + 0.26 * len(conditions)), layout="constrained"
    )
    image = axes.imshow(rate, cmap="RdYlGn", vmin=0.0, vmax=1.0, aspect="auto")
    for (row, column), value in np.ndenumerate(rate):
        if np.isfinite(value):
            dark = value < 0.15 or value > 0.9
            axes.text(
                column,
                row,
                f"{100 * value:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if dark else "black",
            )
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(conditions)), conditions, fontsize=8)
    fewest, most = int(trials[trials > 0].min()), int(trials.max())
    count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    axes.set_title(f"{title}\n(percent; {count} episodes per cell)", fontsize=9, loc="left")
    figure.colorbar(image, label="success", fraction=0.05)
    figure.savefig(path, dpi=120)
    plt.close(figure)
