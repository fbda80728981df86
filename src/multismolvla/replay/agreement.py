"""How well a live stack and a replay in code agree about the same bag."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from multismolvla.replay.trace import Trace


def agreement(live: Trace, replayed: Trace) -> dict:
    """Compare tick by tick, from when both act to the end of the one that ends first.

    Returns:
        ticks: that were compared; with none of them nothing else is there.
        same_mask: share of the ticks at which a stream was in use in both or in neither, over all.
        same_mask_least: the same of the stream that agrees least.
        setpoints_rad: mean, p95 and worst distance of what the arm was told, where both say
            something.
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


def sentence(values: Mapping) -> str:
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
