"""Many outcomes in few numbers: one row per policy, condition and setting."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from multismolvla.evaluation.outcome import Outcome
from multismolvla.evaluation.wilson import wilson_interval
from multismolvla.faults.conditions import CLEAN, SOFT_FAULTS


@dataclass(frozen=True)
class Setting:
    """How a policy is run; rows of one setting are compared with its clean row."""

    policy: str
    masks: str
    execution: str
    latency_s: float
    queue_threshold: float | None = None
    chunk_entry: str = "nearest"
    noise_scale: float = 0.0


@dataclass(frozen=True)
class Row:
    """All episodes of one setting and condition.

    Attributes:
        low, high: 95 % interval of the success rate.
        time_s: median time to success, NaN without one.
        per_minute: successes in a minute of trying, failures' time included.
        jerk_rad_s3: median over episodes.
        limit_hits, starved_ticks, inferences: mean per episode.
        masked_after_s: median time until a damaged stream was masked, NaN if none was.
        masked_share: share of the damaged streams that were masked at all, NaN if none was damaged.
        false_mask_share: mean over episodes.
    """

    setting: Setting
    condition: str
    trials: int
    successes: int
    low: float
    high: float
    time_s: float
    per_minute: float
    jerk_rad_s3: float
    limit_hits: float
    starved_ticks: float
    inferences: float
    masked_after_s: float
    masked_share: float
    false_mask_share: float

    @property
    def rate(self) -> float:
        return self.successes / self.trials


def setting_of(outcome: Outcome) -> Setting:
    return Setting(**{field.name: getattr(outcome.key, field.name) for field in fields(Setting)})


def summarize(outcomes: Iterable[Outcome]) -> list[Row]:
    """Return a row per setting and condition, in the order in which they first appear."""
    groups: dict[tuple[Setting, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((setting_of(outcome), outcome.key.condition), []).append(outcome)
    return [_row(setting, condition, group) for (setting, condition), group in groups.items()]


def _row(setting: Setting, condition: str, group: Sequence[Outcome]) -> Row:
    successes = [outcome for outcome in group if outcome.success]
    low, high = wilson_interval(len(successes), len(group))
    # A stream whose episode was over before its damage began was never damaged.
    delays = [
        delay
        for outcome in group
        if outcome.onset_s is not None and outcome.onset_s < outcome.duration_s
        for delay in outcome.masked_after_s.values()
    ]
    seen = [delay for delay in delays if delay is not None]
    return Row(
        setting,
        condition,
        len(group),
        len(successes),
        low,
        high,
        time_s=_median([outcome.duration_s for outcome in successes]),
        per_minute=60.0 * len(successes) / sum(outcome.duration_s for outcome in group),
        jerk_rad_s3=_median([outcome.jerk_rad_s3 for outcome in group]),
        limit_hits=statistics.fmean(outcome.limit_hits for outcome in group),
        starved_ticks=statistics.fmean(outcome.starved_ticks for outcome in group),
        inferences=statistics.fmean(outcome.inferences for outcome in group),
        masked_after_s=_median(seen),
        masked_share=len(seen) / len(delays) if delays else math.nan,
        false_mask_share=statistics.fmean(outcome.false_mask_share for outcome in group),
    )


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan


@dataclass(frozen=True)
class Headline:
    """What a policy is worth, for one setting; NaN where it has not been measured.

    Attributes:
        clean: success rate without damage.
        one_stream: worst rate with one stream lost from the start, over the clean rate.
        rgb_middle: rate with both RGB views lost in the middle, over the clean rate.
        one_modality: worst rate with one modality left.
        soft: mean rate over the soft faults at severity 2, over the clean rate.
    """

    setting: Setting
    clean: float
    one_stream: float
    rgb_middle: float
    one_modality: float
    soft: float


# Attribute of `Headline` -> its words and the least that will do.
TARGETS = {
    "clean": ("clean", 0.90),
    "one_stream": ("any one stream lost, of clean", 0.90),
    "rgb_middle": ("RGB lost mid-episode, of clean", 0.85),
    "one_modality": ("only one modality left", 0.70),
    "soft": ("soft faults at severity 2, of clean", 0.85),
}


def headlines(rows: Sequence[Row]) -> list[Headline]:
    """Return one headline per setting."""
    made = []
    for setting in dict.fromkeys(row.setting for row in rows):
        rates = {row.condition: row.rate for row in rows if row.setting == setting}
        clean = rates.get(CLEAN, math.nan)

        def over_clean(values: list[float], clean: float = clean) -> float:
            return min(values) / clean if values and clean > 0 else math.nan

        one_stream = [rate for name, rate in rates.items() if _loses_one_stream(name)]
        left = [
            rate for name, rate in rates.items() if name.startswith("only:") and "@" not in name
        ]
        soft = [rate for name, rate in rates.items() if name.split(":")[0] in _SOFT]
        made.append(
            Headline(
                setting,
                clean,
                over_clean(one_stream),
                over_clean([rates[_RGB_MIDDLE]] if _RGB_MIDDLE in rates else []),
                min(left, default=math.nan),
                over_clean([statistics.fmean(soft)] if soft else []),
            )
        )
    return made


_RGB_MIDDLE = "drop:all-rgb@mid"
_SOFT = tuple(f"{fault}-2" for fault in SOFT_FAULTS)


def _loses_one_stream(condition: str) -> bool:
    damage, _, targets = condition.partition(":")
    return damage == "drop" and not any(mark in targets for mark in ("+", "all-", "@"))
