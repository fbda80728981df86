"""Conditions: what a word breaks, and what the sets hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.faults.conditions import (
    condition_set,
    middle_s,
    parse_condition,
)
from multismolvla.faults.image_faults import GaussianNoise
from multismolvla.faults.message_faults import Drop
from multismolvla.streams import StreamTable, load_stream_table

TABLE = load_stream_table(Path(__file__).parents[2] / "config" / "streams.yaml")
LIBERO = load_stream_table(Path(__file__).parents[2] / "config" / "libero" / "streams.yaml")
VIEWS = 2


def test_a_condition_says_which_streams_are_broken_and_when():
    both = parse_condition("drop:all-rgb@mid", TABLE)
    assert both.streams == ("rgb", "wrist/rgb") and both.hard and both.middle
    faults = both.faults(TABLE, seed=1, onset_s=2.5)
    assert all(isinstance(fault.fault, Drop) for fault in faults.values())
    assert not faults["rgb"].active(2_499_999_999) and faults["rgb"].active(2_500_000_000)
    noise = parse_condition("noise-2:wrist/depth", TABLE).faults(TABLE, 1, 2.5)
    assert list(noise) == ["wrist/depth"] and noise["wrist/depth"].active(0)
    assert noise["wrist/depth"].fault == GaussianNoise.at_severity(
        "depth", 2, noise["wrist/depth"].fault.seed
    )


def test_only_breaks_everything_else():
    condition = parse_condition("only:all-depth", TABLE)
    assert set(condition.streams) == set(TABLE.names) - {"depth", "wrist/depth"}


def test_two_streams_of_an_episode_have_noise_of_their_own():
    faults = parse_condition("noise-2:all-rgb", TABLE).faults(TABLE, 1, 0.0)
    assert faults["rgb"].fault.seed != faults["wrist/rgb"].fault.seed


def test_a_stream_that_the_robot_lacks_cannot_break():
    seen = StreamTable((TABLE["depth"],))
    assert list(parse_condition("drop:all-rgb+depth", TABLE).faults(seen, 1, 0.0)) == ["depth"]


@given(seed=st.integers(0, 10_000))
def test_the_moment_is_in_the_middle_and_belongs_to_the_episode(seed):
    moment = middle_s("red_cube_in_bin", "object", seed, (0.8, 2.4))
    assert 0.8 <= moment <= 2.4
    assert moment == middle_s("red_cube_in_bin", "object", seed, (0.8, 2.4))


def test_the_sets_hold_what_they_promise():
    quick, standard, full = (condition_set(name, TABLE) for name in ("quick", "standard", "full"))
    assert [c.name for c in quick][:2] == ["clean", "drop:all-rgb"]
    names = [condition.name for condition in standard]
    assert len(names) == len(set(names)) and {c.name for c in quick} <= set(names)
    # Streams, modalities, pairs of modalities, one modality left; twice; six soft faults.
    assert len(standard) == 1 + 2 * (8 + 4 + 6 + 4) + 6 * 3
    assert len(full) == len(standard) + 2 * 28
    for condition in full:
        assert parse_condition(condition.name, TABLE) == condition
    # The last camera is never broken: the arm would only hold.
    assert all(len(condition.streams) <= len(TABLE) - VIEWS for condition in full)


def test_the_sets_of_a_table_with_the_views_of_libero():
    quick, standard, full, libero = (
        condition_set(name, LIBERO) for name in ("quick", "standard", "full", "libero")
    )
    names = {condition.name: condition for condition in standard}
    assert libero == standard
    # Streams, RGB twice, views, one modality left, five soft faults, alpha blending.
    assert len(names) == len(standard) == 1 + 8 + 2 + 2 + 4 + 5 * 3 + 5
    assert [condition.name for condition in quick] == [
        "clean", "drop:all-rgb@mid", "drop:view-agentview", "only:all-depth"
    ]  # fmt: skip
    assert {condition.name for condition in quick} <= names.keys()
    assert names.keys() <= {condition.name for condition in full}
    assert set(names["drop:view-agentview"].streams) == {
        f"agentview/{kind}" for kind in ("rgb", "depth", "thermal", "segmentation")
    }
    rgb = ("agentview/rgb", "wrist/rgb")
    assert names["alpha_blend-5:all-rgb"].streams == names["late-3:all-rgb"].streams == rgb
    assert all(parse_condition(name, LIBERO) == made for name, made in names.items())


def test_libero_s_set_needs_its_views():
    with pytest.raises(ValueError, match="'agentview' is not a view"):
        condition_set("libero", TABLE)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("dirty", "expected clean, drop:<streams>"),
        ("drop:rgb@", "expected clean, drop:<streams>"),
        ("drop:rgb@late", "expected clean, drop:<streams>"),
        ("drop:sonar", "unknown stream 'sonar'"),
        ("drop:all-sonar", "'sonar' is not a kind; expected rgb"),
        ("noise:rgb", "noise needs a severity, as in noise-2"),
        ("noise-9:rgb", "severity is '9'; expected 1 to 5"),
        ("fog-2:rgb", "unknown fault 'fog'"),
        ("glare-2:rgb+depth", "glare does not apply to depth; expected rgb"),
    ],
)
def test_a_wrong_condition_is_one_clear_line(text, part):
    with pytest.raises(ValueError) as caught:
        parse_condition(text, TABLE)
    assert part in str(caught.value) and "\n" not in str(caught.value)
