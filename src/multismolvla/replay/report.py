"""What came of a replay: JSON lines for machines, Markdown and pictures for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multismolvla.data.recording import Recording
from multismolvla.markdown import table
from multismolvla.replay.charts import write_charts
from multismolvla.replay.measures import agreement, agreement_sentence, describe
from multismolvla.replay.one_pass import ReplaySettings
from multismolvla.replay.trace import Setpoints, Trace

PASSES = ("pass", "masked after (s)", "recovered after (s)", "false alarms", "error to recorded")
PASSES += ("error to clean", "least available", "skew p95 (ms)", "starved ticks", "held")
# Key of an error in results.jsonl -> what it is the distance to.
ERRORS = {"error_to_recorded_rad": "recorded", "error_to_clean_rad": "clean"}


@dataclass(frozen=True)
class Replayed:
    """A bag and all passes over it.

    Attributes:
        policy: with digest.
        traces: the clean pass first.
        commands: what was commanded when the bag was made.
        recorded: what the recorded stack did, None where none was recorded.
        live: what the live stack did when the bag was played to it.
    """

    source: Recording
    policy: str
    settings: ReplaySettings
    traces: Sequence[Trace]
    commands: Setpoints
    recorded: Trace | None = None
    live: Trace | None = None


def write_results(out: Path, replayed: Replayed) -> list[str]:
    """Write results.jsonl, report.md and the pictures; return what to print.

    Nothing in results.jsonl depends on the machine or the time: two replays of a bag with the same
    arguments write the same bytes.
    """
    out.mkdir(parents=True, exist_ok=True)
    lines = results(replayed)
    (out / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    speed = _speed(replayed.traces)
    (out / "report.md").write_text(render(lines, speed))
    files = write_charts(out, replayed, lines[1:])
    head = lines[0]
    summary = [f"{head['bag']}: {head['lasts_s']:.1f} s, policy {head['policy']}"]
    summary += [f"warning: {warning}" for warning in head["warnings"]]
    summary += [_one_line(line) for line in lines[1:]]
    summary.append(f"{speed}; in {out}: report.md, results.jsonl, {', '.join(files)}")
    return summary


def results(replayed: Replayed) -> list[dict]:
    """The lines of results.jsonl: what was replayed, then each pass."""
    source, clean = replayed.source, replayed.traces[0]
    from_ns = _start(clean)
    recorded = replayed.commands if len(replayed.commands.times_ns) else None
    head = {
        "bag": str(source.bag.path),
        "recorded_code": source.git_revision,
        "policy": replayed.policy,
        "task": replayed.settings.task,
        "latency_s": replayed.settings.latency_s,
        "lasts_s": round(clean.lasts_s, 3),
        "topics": dict(source.topics),
        "pose_check": list(replayed.settings.pose_check),
        "labels": "recorded" if source.labels_recorded else "network",
        "missing": source.missing,
        "warnings": _warnings(replayed),
    }
    lines = [head]
    for trace in replayed.traces:
        reference = None if trace is clean else clean
        lines.append(describe(trace, source.table, from_ns, recorded, reference))
    for trace in (replayed.recorded, replayed.live):
        if trace is not None:
            line = describe(trace, source.table, _start(trace), recorded, clean)
            partner = _partner(replayed) if trace is replayed.live else clean
            lines.append(line | {"agreement": agreement(trace, partner)})
    return lines


def _speed(traces: Sequence[Trace]) -> str:
    """How fast the first pass was, which makes every label, and the median of the others."""

    def times(spent: Sequence[float]) -> list[float]:
        return [trace.lasts_s / max(s, 1e-9) for trace, s in zip(traces, spent, strict=True)]

    wall, processor = times([t.wall_s for t in traces]), times([t.processor_s for t in traces])
    words = [f"clean pass {wall[0]:.2f} times real time ({processor[0]:.2f} by processor time)"]
    if len(traces) > 1:
        words.append(
            f"the others {np.median(wall[1:]):.2f} ({np.median(processor[1:]):.2f}), median"
        )
    return "; ".join(words)


def _start(trace: Trace) -> int:
    """Where counting begins: with the first trajectory, or with the bag."""
    if trace.acting_from_ns is not None:
        return trace.acting_from_ns
    return int(trace.ticks_ns[0]) if len(trace.ticks_ns) else 0


def _partner(replayed: Replayed) -> Trace:
    """The pass that had the faults of the live one."""
    return replayed.traces[-1] if len(replayed.traces) == 2 else replayed.traces[0]


def _warnings(replayed: Replayed) -> list[str]:
    source, clean = replayed.source, replayed.traces[0]
    found = [source.bag.damage] if source.bag.damage else []
    if source.missing:
        found.append(f"masked because the bag has no images: {', '.join(source.missing)}")
    if source.clock.note:
        found.append(source.clock.note)
    if not len(replayed.commands.times_ns):
        found.append("no joint_trajectory in it: nothing recorded to compare actions with")
    if clean.acting_from_ns is None:
        found.append(f"the policy commanded nothing; its last error: {clean.error or 'none'}")
    return found


def render(lines: Sequence[Mapping], speed: str) -> str:
    """The report in Markdown."""
    head, passes = lines[0], lines[1:]
    text = [
        "# Replay",
        "",
        f"`{head['bag']}`, {head['lasts_s']:.1f} s, policy `{head['policy']}`, "
        f"labels: {head['labels']}, pose check {'on' if head['pose_check'] else 'off'}, "
        f"inference {head['latency_s'] * 1e3:.0f} ms, "
        f"code that was recorded: {head['recorded_code'] or 'unknown'}.",
        "",
        *(f"* {warning}" for warning in head["warnings"]),
        *([""] if head["warnings"] else []),
        "## Passes",
        "",
        "Action errors are mean absolute distances over ticks and joints, in radians.",
        "",
        _table(PASSES, [_row(line) for line in passes]),
        "",
        "## Action error by joint",
        "",
        "Mean absolute distance, to what was recorded and to the clean pass, radians.",
        "",
        _joint_table(passes),
        "",
        "## Action error by horizon",
        "",
        "Of what was queued after each merge, by how far ahead it was meant; mean over joints.",
        "",
        _horizon_table(passes),
        "",
        "## Availability",
        "",
        _availability_table(passes),
    ]
    pairs = [(line["pass"], line["agreement"]) for line in passes if "agreement" in line]
    if pairs:
        text += ["", "## Agreement with the live stack", ""]
        text += [f"* {name}: {agreement_sentence(values)}" for name, values in pairs]
    if speed:
        text += ["", f"Speed: {speed}."]
    return "\n".join(text) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table(head, rows) if rows else "Nothing to compare."


def _row(line: Mapping) -> list[str]:
    faults = line.get("faults", [])
    return [
        f"`{line['pass']}`",
        _worst([f["masked_after_s"] for f in faults]),
        _worst([f["recovered_after_s"] for f in faults if f["end_s"] is not None]),
        str(line.get("false_alarms", "-")),
        _overall(line["error_to_recorded_rad"]),
        _overall(line["error_to_clean_rad"]),
        f"{min(line['availability'].values()):.0%}" if line["availability"] else "-",
        f"{line['skew_ms']['p95']:.1f}" if line["skew_ms"] else "-",
        str(line["starved_ticks"]),
        f"{line['held_share']:.0%}",
    ]


def _worst(delays: Sequence[float | None]) -> str:
    """The longest delay; how many never were."""
    known = [delay for delay in delays if delay is not None]
    never = len(delays) - len(known)
    words = [f"{max(known):.2f}"] if known else []
    words += [f"{never} never"] if never else []
    return ", ".join(words) or "-"


def _overall(error: Mapping | None) -> str:
    return "-" if error is None else f"{error['overall']:.4f}"


def _errors(passes: Sequence[Mapping]) -> Iterator[tuple[list[str], Mapping]]:
    """The first two cells of a row, pass and reference, with each error that is known."""
    for line in passes:
        for key, reference in ERRORS.items():
            if line[key] is not None:
                yield [f"`{line['pass']}`", reference], line[key]


def _joint_table(passes: Sequence[Mapping]) -> str:
    joints = next((list(error["mean"]) for _, error in _errors(passes)), [])
    rows = [
        [
            *cells,
            *(f"{error['mean'][name]:.4f}" for name in joints),
            f"{max(error['worst'].values()):.3f}",
        ]
        for cells, error in _errors(passes)
    ]
    return _table(["pass", "to", *joints, "worst"], rows)


def _horizon_table(passes: Sequence[Mapping]) -> str:
    found = [
        (cells, {ahead_s: mean for ahead_s, mean, _ in error["by_horizon"]})
        for cells, error in _errors(passes)
        if error["by_horizon"]
    ]
    ahead = sorted({ahead_s for _, means in found for ahead_s in means})
    rows = [
        [*cells, *(f"{means[h]:.4f}" if h in means else "-" for h in ahead)]
        for cells, means in found
    ]
    return _table(["pass", "to", *(f"{h:g} s" for h in ahead)], rows)


def _availability_table(passes: Sequence[Mapping]) -> str:
    names = list(next((line["availability"] for line in passes if line["availability"]), {}))
    rows = [
        [f"`{line['pass']}`", *(f"{line['availability'].get(name, 0.0):.1%}" for name in names)]
        for line in passes
    ]
    return _table(["pass", *names], rows)


def _one_line(line: Mapping) -> str:
    parts = [f"error to recorded {_overall(line['error_to_recorded_rad'])}"]
    if line["error_to_clean_rad"] is not None:
        parts.append(f"to clean {_overall(line['error_to_clean_rad'])} rad")
    if line.get("faults"):
        parts.append(f"masked after (s): {_worst([f['masked_after_s'] for f in line['faults']])}")
    parts.append(f"{line.get('false_alarms', 0)} false alarms")
    return f"{line['pass']}: {', '.join(parts)}"
