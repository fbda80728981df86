"""What the numbers of a summary mean, at their edges."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.evaluation.outcome import EpisodeKey, Outcome
from multismolvla.evaluation.summary import TARGETS, headlines, summarize
from multismolvla.evaluation.wilson import wilson_interval

KEY = EpisodeKey("runs/small@1f2e3d4c", "clean", "red_cube_in_bin", 7)


def episodes(condition: str, successes: int, trials: int = 10, **key) -> list[Outcome]:
    made = (replace(KEY, condition=condition, seed=seed, **key) for seed in range(trials))
    return [Outcome(key, key.seed < successes, 5.0) for key in made]


def headline(*groups: list[Outcome]):
    (made,) = headlines(summarize([outcome for group in groups for outcome in group]))
    return made


def test_rows_come_in_the_order_in_which_they_first_appear():
    mixed = [*episodes("drop:rgb", 1, 1), *episodes("clean", 2, 2), *episodes("drop:rgb", 0, 3)]
    rows = summarize(mixed)
    assert [(row.condition, row.trials) for row in rows] == [("drop:rgb", 4), ("clean", 2)]


@pytest.mark.parametrize(
    "other",
    [
        {"policy": "expert"},
        {"masks": "oracle"},
        {"execution": "synchronous"},
        {"latency_s": 0.2},
        {"queue_threshold": 0.5},
        {"chunk_entry": "stamp"},
        {"noise_scale": 1.0},
    ],
    ids=lambda other: next(iter(other)),
)
def test_whatever_a_policy_is_run_with_has_a_row_of_its_own(other):
    rows = summarize([*episodes("clean", 1, 1), *episodes("clean", 0, 1, **other)])
    assert [row.successes for row in rows] == [1, 0]


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_the_interval_of_a_row_is_wilson_s(results):
    made = [Outcome(replace(KEY, seed=seed), won, 5.0) for seed, won in enumerate(results)]
    (row,) = summarize(made)
    assert (row.low, row.high) == wilson_interval(sum(results), len(results))
    assert row.low - 1e-9 <= row.rate <= row.high + 1e-9


def test_a_row_without_success_has_no_time_and_one_without_damage_no_delay():
    (row,) = summarize(episodes("clean", 0))
    assert math.isnan(row.time_s) and row.per_minute == 0.0
    assert math.isnan(row.masked_after_s) and math.isnan(row.masked_share)


def test_streams_that_were_never_masked_count_in_the_share_and_not_in_the_time():
    delays = {"rgb": 0.2, "depth": 0.4, "thermal": None, "wrist/rgb": 0.3}
    (row,) = summarize([Outcome(KEY, True, 5.0, onset_s=1.0, masked_after_s=delays)])
    assert row.masked_after_s == 0.3 and row.masked_share == 0.75


def test_the_worst_stream_is_the_headline_and_all_are_relative_to_clean():
    made = headline(
        episodes("clean", 8),
        episodes("drop:rgb", 8),
        episodes("drop:wrist/depth", 4),
        episodes("drop:all-rgb@mid", 6),
        episodes("only:depth", 3),
        episodes("only:thermal", 2),
    )
    assert made.clean == 0.8 and made.one_stream == 0.5
    assert made.rgb_middle == pytest.approx(0.75)
    assert made.one_modality == 0.2, "one modality is not relative: it is what is left to live on"


@pytest.mark.parametrize("condition", ["drop:rgb+depth", "drop:all-rgb", "drop:rgb@mid"])
def test_pairs_and_losses_in_the_middle_are_not_one_stream_lost(condition):
    assert math.isnan(headline(episodes("clean", 10), episodes(condition, 0)).one_stream)


def test_soft_faults_are_averaged_at_severity_2_only():
    made = headline(
        episodes("clean", 10),
        episodes("noise-2:all-rgb", 10),
        episodes("occlusion-2:all-rgb", 6),
        episodes("noise-4:all-rgb", 0),
    )
    assert made.soft == pytest.approx(0.8)


def test_what_was_not_measured_is_not_a_number():
    made = headline(episodes("drop:rgb", 5))
    assert all(math.isnan(getattr(made, name)) for name in TARGETS)
    never = headline(episodes("clean", 0), episodes("drop:rgb", 0))
    assert never.clean == 0.0 and math.isnan(never.one_stream)
