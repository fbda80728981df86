"""Pictures of a replay: what was masked when, what it did to the actions, what was there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np

from multismolvla.replay.measures import error_over_time
from multismolvla.replay.trace import Trace

if TYPE_CHECKING:
    from multismolvla.replay.report import Replayed

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FAULT, MASK = "0.82", "#d1495b"
ROW_INCHES = 0.19
# More lines than these, and none can be followed.
MAX_LINES = 10


def write_charts(out: Path, replayed: Replayed, passes: Sequence[Mapping]) -> list[str]:
    """Write the pictures; return the names of the files."""
    shown = [*replayed.traces, *(t for t in (replayed.recorded, replayed.live) if t is not None)]
    _timeline(out / "timeline.png", replayed, shown, passes)
    _availability(out / "availability.png", passes)
    files = ["timeline.png", "availability.png"]
    if _severity(out / "severity.png", passes):
        files.insert(1, "severity.png")
    return files


def _timeline(
    path: Path, replayed: Replayed, traces: Sequence[Trace], passes: Sequence[Mapping]
) -> None:
    """Action error over time; below it a row for each stream of a pass that broke or was masked."""
    clean = replayed.traces[0]
    rows = [
        (trace, line, stream)
        for trace, line in zip(traces, passes, strict=True)
        for stream in changed_streams(line, passes[0])
    ]
    height = 3.2 + ROW_INCHES * len(rows)
    figure, (errors, masks) = plt.subplots(
        2,
        1,
        figsize=(10, height),
        sharex=True,
        height_ratios=(2.2, max(0.6, ROW_INCHES * len(rows))),
        layout="constrained",
    )
    _draw_errors(errors, replayed, traces, clean)
    for row, (_, line, stream) in enumerate(rows):
        end_s = line["lasts_s"]
        lasting = [
            (f["start_s"], end_s if f["end_s"] is None else f["end_s"])
            for f in line.get("faults", [])
            if f["stream"] == stream
        ]
        masks.broken_barh(_bars(lasting), (row - 0.45, 0.9), color=FAULT)
        masked = line.get("masked_s", {}).get(stream, [])
        masks.broken_barh(_bars(masked), (row - 0.22, 0.44), color=MASK)
    names = [f"{line['pass']}  {stream}" for _, line, stream in rows]
    masks.set_yticks(range(len(rows)), names, fontsize=6)
    masks.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    masks.set_xlabel("s after the policy's first trajectory")
    masks.set_title("fault (grey), mask (red)", fontsize=8, loc="left")
    masks.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_errors(axes, replayed: Replayed, traces: Sequence[Trace], clean: Trace) -> None:
    has_commands = len(replayed.commands.times_ns) > 0
    drawn = 0
    for trace in traces:
        reference = clean.setpoints()
        if trace is clean:
            if not has_commands:
                continue
            reference = replayed.commands
        if drawn == MAX_LINES:
            break
        origin_ns = clean.acting_from_ns
        if trace.acting_from_ns is None or origin_ns is None:
            continue
        since_s = (trace.ticks_ns - origin_ns) * 1e-9
        label = f"{trace.name} to {'recorded' if trace is clean else 'clean'}"
        axes.plot(since_s, error_over_time(trace, reference), linewidth=1.0, label=label)
        drawn += 1
    axes.set_ylabel("action error (rad)\nmean over joints")
    axes.set_ylim(bottom=0.0)
    axes.set_xlim(left=0.0)
    axes.grid(alpha=0.3)
    if drawn:
        axes.legend(fontsize=6, ncols=2)
    left_out = len(traces) - MAX_LINES
    if left_out > 0:
        axes.set_title(f"the first {MAX_LINES} of {len(traces)} passes", fontsize=8, loc="left")


def changed_streams(line: Mapping, clean: Mapping) -> list[str]:
    """Streams of a pass that broke or were masked otherwise than in the clean one, in order."""
    broken = {fault["stream"] for fault in line.get("faults", [])}
    before = {} if line is clean else clean.get("masked_s", {})
    masked = {name for name, when in line.get("masked_s", {}).items() if when != before.get(name)}
    order = [*line["availability"], *sorted(broken - set(line["availability"]))]
    return [name for name in order if name in broken | masked]


def severity_points(passes: Sequence[Mapping]) -> dict[str, list[tuple[int, float, float]]]:
    """Fault -> (severity, error to the clean pass in radians, least availability), rising."""
    points: dict[str, list[tuple[int, float, float]]] = {}
    for line in passes:
        levels = {fault["severity"] for fault in line.get("faults", [])}
        error = line["error_to_clean_rad"]
        if len(levels) == 1 and None not in levels and error is not None:
            name = line["pass"].rpartition("-")[0] or line["pass"]
            least = min(line["availability"].values())
            points.setdefault(name, []).append((levels.pop(), error["overall"], least))
    return {name: sorted(found) for name, found in points.items()}


def _severity(path: Path, passes: Sequence[Mapping]) -> bool:
    """Action error against severity, a line for each fault; False without any severity."""
    points = severity_points(passes)
    if not points:
        return False
    figure, (errors, least) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, found in points.items():
        severities, away, available = zip(*found, strict=True)
        errors.plot(severities, away, "o-", label=name)
        least.plot(severities, np.array(available) * 100, "o-", label=name)
    errors.set_ylabel("action error to the clean pass (rad)")
    least.set_ylabel("availability of the stream that is least in use (%)")
    least.set_ylim(-3, 103)
    for axes in (errors, least):
        axes.set_xlabel("severity")
        axes.set_xticks(range(1, 6))
        axes.grid(alpha=0.3)
    errors.set_ylim(bottom=0.0)
    errors.legend(fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def _availability(path: Path, passes: Sequence[Mapping]) -> None:
    """Share of the time that a stream was in use, a row for each pass."""
    shown = [line for line in passes if line["availability"]]
    names = list(shown[0]["availability"]) if shown else []
    shares = np.array([[line["availability"][name] for name in names] for line in shown])
    figure, axes = plt.subplots(
        figsize=(2.5 + 0.85 * len(names), 1.6 + 0.3 * len(shown)), layout="constrained"
    )
    if shown:
        axes.imshow(shares, cmap="RdYlGn", vmin=0.0, vmax=1.0, aspect="auto", alpha=0.6)
        for row, column in np.ndindex(shares.shape):
            text = f"{shares[row, column]:.0%}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(shown)), [line["pass"] for line in shown], fontsize=8)
    axes.set_title("share of the time in use", fontsize=9, loc="left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(intervals: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """(start, length) of each interval."""
    return [(start_s, end_s - start_s) for start_s, end_s in intervals]
