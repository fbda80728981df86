"""Numbers of one pass over a bag, and how far it is from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from multismolvla.faults.fault import JOINT_STATES
from multismolvla.replay.trace import Setpoints, Trace
from multismolvla.streams import StreamTable

# How far ahead of a merge its actions are compared, seconds.
HORIZONS_S = (0.0, 0.1, 0.2, 0.5, 1.0, 1.5)
# Of radians in reports.
DECIMALS = 6


@dataclass(frozen=True)
class ActionError:
    """Distance between two sets of setpoints, radians.

    Attributes:
        mean, rms, worst: absolute distance per joint over the ticks of both.
        by_horizon: [seconds ahead, mean over all joints, chunks] of what was queued.
        ticks: at which both command something.
    """

    mean: dict[str, float]
    rms: dict[str, float]
    worst: dict[str, float]
    by_horizon: list[tuple[float, float, int]]
    ticks: int

    @property
    def overall(self) -> float:
        """Mean over joints."""
        return sum(self.mean.values()) / len(self.mean)


def action_error(trace: Trace, reference: Setpoints, from_ns: int) -> ActionError | None:
    """Compare the commands of a pass from an instant on; None where there is nothing to compare.

    Executed setpoints are compared tick by tick, and what was queued with the
    reference at the instants that it was meant for.
    """
    ticks = trace.ticks_ns >= from_ns
    away = np.abs(trace.targets[ticks] - reference.at(trace.ticks_ns[ticks]))
    away = away[np.isfinite(away).all(axis=1)]
    if not len(away):
        return None

    def by_joint(values: np.ndarray) -> dict[str, float]:
        return {
            name: round(float(v), DECIMALS) for name, v in zip(trace.joints, values, strict=True)
        }

    by_horizon = []
    for ahead_s in HORIZONS_S:
        errors = _at_horizon(trace, reference, from_ns, ahead_s)
        if len(errors):
            mean = round(float(errors.mean()), DECIMALS)
            by_horizon.append((ahead_s, mean, len(errors)))
    rms = np.sqrt(np.mean(away**2, axis=0))
    return ActionError(
        by_joint(away.mean(axis=0)),
        by_joint(rms),
        by_joint(away.max(axis=0)),
        by_horizon,
        len(away),
    )


def error_over_time(trace: Trace, reference: Setpoints) -> np.ndarray:
    """(T,) mean absolute distance over joints at each tick, NaN where one commands nothing."""
    return np.abs(trace.targets - reference.at(trace.ticks_ns)).mean(axis=1)


def _at_horizon(trace: Trace, reference: Setpoints, from_ns: int, ahead_s: float) -> np.ndarray:
    """(K, J) distances of what was queued for `ahead_s` after each merge."""
    times, targets = [], []
    for plan in trace.plans:
        when = plan.now_ns + round(ahead_s * 1e9)
        if plan.now_ns >= from_ns and plan.times_ns[0] <= when <= plan.times_ns[-1]:
            times.append(when)
            targets.append(Setpoints(plan.times_ns, plan.targets).at(np.array([when]))[0])
    if not times:
        return np.zeros((0, len(trace.joints)))
    away = np.abs(np.array(targets) - reference.at(np.array(times, np.int64)))
    return away[np.isfinite(away).all(axis=1)]


def describe(
    trace: Trace,
    table: StreamTable,
    from_ns: int,
    recorded: Setpoints | None,
    clean: Trace | None,
) -> dict:
    """Everything that is reported of a pass, as plain values; nothing depends on the machine.

    Args:
        from_ns: start of what counts, the clean pass's first trajectory.
        recorded: the commands when the bag was made.
        clean: the pass without faults, None for itself.
    """
    counted = trace.ticks_ns >= from_ns
    used = trace.available[counted]
    skews_ms = np.array(trace.skews_s) * 1e3
    latencies_ms = np.array(trace.latencies_s) * 1e3
    expected = {stream.name: trace.lasts_s * stream.rate_hz for stream in table}
    described = {
        "pass": trace.name,
        "lasts_s": round(trace.lasts_s, 3),
        "availability": {
            name: round(float(share), 4)
            for name, share in zip(trace.streams, used.mean(axis=0), strict=True)
        }
        if len(used)
        else {},
        "frames_share": {
            name: round(count / expected[name], 3) if expected[name] else 0.0
            for name, count in trace.frames.items()
        },
        "sets": len(skews_ms),
        "skew_ms": _spread(skews_ms),
        "inferences": len(trace.plans),
        "latency_ms": _spread(latencies_ms),
        "starved_ticks": trace.starved_ticks,
        "held_share": round(trace.held_ticks / max(1, trace.task_ticks), 4),
        "queue_low_s": round(float(trace.queue_s[counted].min()), 3)
        if len(trace.queue_s) and counted.any()
        else None,
        "policy_error": trace.error,
    }
    for name, reference in (
        ("error_to_recorded_rad", recorded),
        ("error_to_clean_rad", None if clean is None else clean.setpoints()),
    ):
        error = None if reference is None else action_error(trace, reference, from_ns)
        described[name] = None if error is None else asdict(error) | {"overall": error.overall}
    if trace.record is not None:
        described |= _detection(trace, clean is None, from_ns)
    return described


def _detection(trace: Trace, is_clean: bool, from_ns: int) -> dict:
    record = trace.record
    alarms = len(mask_onsets(trace, from_ns)) if is_clean else record.false_alarms
    faults = []
    for result in record.results:
        scheduled = result.scheduled
        faults.append(
            {
                "stream": result.stream,
                "fault": scheduled.fault,
                "severity": scheduled.severity,
                "start_s": scheduled.start_s,
                "end_s": scheduled.end_s,
                "masked_after_s": result.masked_after_s,
                "warned_after_s": result.warned_after_s,
                "recovered_after_s": None if scheduled.end_s is None else result.recovered_after_s,
            }
        )
    return {"false_alarms": alarms, "faults": faults, "masked_s": masked_intervals(trace, from_ns)}


def mask_onsets(trace: Trace, from_ns: int) -> list[tuple[str, float]]:
    """(stream, seconds after `from_ns`) of every time that a stream in use was masked."""
    return [
        (name, start_s)
        for name, intervals in masked_intervals(trace, from_ns).items()
        if name != JOINT_STATES
        for start_s, _ in intervals
        if start_s > 0.0
    ]


def masked_intervals(trace: Trace, from_ns: int) -> dict[str, list[tuple[float, float]]]:
    """Stream -> [from, to] of the times it was masked, seconds after `from_ns`."""
    counted = trace.ticks_ns >= from_ns
    since_s = ((trace.ticks_ns[counted] - from_ns) * 1e-9).round(3)
    found: dict[str, list[tuple[float, float]]] = {}
    for column, name in enumerate(trace.streams):
        masked = ~trace.available[counted, column]
        edges = np.flatnonzero(np.diff(np.concatenate(([0], masked.view(np.int8), [0]))))
        intervals = [
            (float(since_s[start]), float(since_s[min(end, len(since_s) - 1)]))
            for start, end in zip(edges[::2], edges[1::2], strict=True)
        ]
        if intervals:
            found[name] = intervals
    return found


def _spread(values: Sequence[float] | np.ndarray) -> dict[str, float] | None:
    """Median, 95th percentile and greatest value."""
    if not len(values):
        return None
    return {
        "median": round(float(np.median(values)), 3),
        "p95": round(float(np.percentile(values, 95)), 3),
        "worst": round(float(np.max(values)), 3),
    }


# How well a live stack and a replay in code agree about the same bag.


def agreement(live: Trace, replayed: Trace) -> dict:
    """Compare tick by tick, from when both act to the end of the one that ends first.

    Returns:
        ticks: that were compared; with none of them nothing else is there.
        same_mask: share of the ticks at which a stream was in use in both or in neither, over all.
        same_mask_least: the same of the stream that agrees least.
        setpoints_rad: mean, p95 and worst distance of the commands, where both have one.
        inferences: of the live stack and of the replay.
    """
    starts = [trace.acting_from_ns for trace in (live, replayed)]
    if None in starts:
        return {"ticks": 0}
    start_ns, end_ns = max(starts), min(live.ticks_ns[-1], replayed.ticks_ns[-1])
    rows = np.flatnonzero((replayed.ticks_ns >= start_ns) & (replayed.ticks_ns <= end_ns))
    if not len(rows):
        return {"ticks": 0}
    ticks_ns = replayed.ticks_ns[rows]
    newest = np.searchsorted(live.ticks_ns, ticks_ns, side="right") - 1
    same = live.available[newest] == replayed.available[rows]
    away = np.abs(replayed.targets[rows] - live.setpoints().at(ticks_ns))
    away = away[np.isfinite(away).all(axis=1)]
    found = {
        "ticks": len(rows),
        "same_mask": round(float(same.mean()), 4),
        "same_mask_least": round(float(same.mean(axis=0).min()), 4),
        "inferences": [len(live.plans), len(replayed.plans)],
    }
    if len(away):
        found["setpoints_rad"] = {
            "mean": round(float(away.mean()), 5),
            "p95": round(float(np.percentile(away, 95)), 5),
            "worst": round(float(away.max()), 5),
        }
    return found


def agreement_sentence(values: Mapping) -> str:
    """The agreement for a person."""
    if not values["ticks"]:
        return "no tick in common at which both act"
    live, replayed = values["inferences"]
    words = [
        f"{values['ticks']} ticks compared",
        f"the same mask in {values['same_mask']:.2%} of them "
        f"({values['same_mask_least']:.2%} for the stream that agrees least)",
    ]
    if "setpoints_rad" in values:
        away = values["setpoints_rad"]
        words.append(
            f"setpoints apart by {away['mean']:.4f} rad (mean), {away['p95']:.4f} (95 %), "
            f"{away['worst']:.4f} (worst)"
        )
    words.append(f"{live} inferences live, {replayed} replayed")
    return ", ".join(words)
