"""scripts/train_small.sh: the commands of docs/training.md, each done once."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "train_small.sh"


FIRST = {"small": "multismolvla scenes", "libero": "multismolvla demos --world libero"}


def documented(policy: str = "small") -> list[str]:
    page = (ROOT / "docs" / "training.md").read_text()
    block = next(part for part in page.split("```") if part.strip().startswith(FIRST[policy]))
    commands = [re.sub(r"(; wait|&)? *(#.*)?$", "", line) for line in block.splitlines()]
    return [command.strip() for command in commands if command.startswith("multismolvla")]


@pytest.mark.parametrize("policy", FIRST)
def test_the_script_runs_the_commands_of_the_page_in_their_order(policy):
    options = [] if policy == "small" else [policy]
    listed = subprocess.run(
        [SCRIPT, *options, "--list"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.splitlines() == documented(policy)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the script beside a `multismolvla` that only notes what it is asked for."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / SCRIPT.name).write_text(SCRIPT.read_text())
    program = tmp_path / "bin" / "multismolvla"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$*" >>"$NOTES"\ncase "$*" in *"$FAILS"*) exit 1 ;; esac\n')
    program.chmod(0o755)

    def run(fails: str = "nothing") -> tuple[int, list[str]]:
        notes = tmp_path / "notes"
        notes.write_text("")
        path = f"{program.parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "NOTES": str(notes), "FAILS": fails}
        script = tmp_path / "scripts" / SCRIPT.name
        status = subprocess.run(["bash", script], env=environment, capture_output=True).returncode
        return status, notes.read_text().splitlines()

    return run


@pytest.mark.parametrize("fails", ["dagger_seen --out data/seen", "perception_dagger.yaml"])
def test_it_stops_at_what_fails_and_goes_on_there(checkout, fails):
    commands = [command.removeprefix("multismolvla ") for command in documented()]
    status, first = checkout(fails)
    assert status != 0 and any(fails in command for command in first)
    assert len(first) < len(commands)
    status, second = checkout()
    assert status == 0 and fails in second[0] + second[1]
    assert set(first) | set(second) == set(commands)
    assert checkout() == (0, [])
