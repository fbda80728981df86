"""The whole stack still runs known episodes to the ends that they had.

`outcomes.jsonl` was written before the composition moved into `stack/`. On one machine a change
that moves code leaves every line as it was (`benchmarks/same_outcomes.py`); between processors the
sums of a network differ in the last bit, so that what follows from them has a margin here.
"""

import json
from pathlib import Path

import pytest

from multismolvla.cli import main

STORED = Path(__file__).with_name("outcomes.jsonl")
# Where rounding can show: field -> relative and absolute margin.
MARGINS = {"duration_s": (0.0, 0.3), "jerk_rad_s3": (0.1, 0.0), "inferences": (0.0, 1.0)}


def by_episode(path: Path) -> dict[tuple[str, str], dict]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["policy"], line["condition"]): line for line in lines}


def test_known_episodes_end_as_they_did(tmp_path):
    stored = by_episode(STORED)
    policies = [name.partition("@")[0] for name, _ in stored]
    arguments = ["evaluate", "--out", str(tmp_path), "--no-clips", "--workers", "1"]
    arguments += ["--policies", *dict.fromkeys(policies), "--all-streams"]
    arguments += ["--conditions", *dict.fromkeys(condition for _, condition in stored)]
    arguments += ["--tasks", "red_cube_in_bin", "--episodes-per-task", "1"]
    arguments += ["--segmentation", "ground_truth"]
    assert main(arguments) == 0
    now = by_episode(tmp_path / "outcomes.jsonl")
    assert now.keys() == stored.keys()
    for episode, was in stored.items():
        expected = {
            name: pytest.approx(value, *MARGINS[name]) if name in MARGINS else value
            for name, value in was.items()
        }
        assert now[episode] == expected, episode
