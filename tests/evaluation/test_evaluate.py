"""The command: a random checkpoint under a few conditions, stopped, resumed and reported."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
import yaml

from multismolvla.cli import main
from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.checkpoint import save_checkpoint
from multismolvla.policy.config import tiny
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.stack import closed_loop
from multismolvla.stack.policy_loading import with_digest, without_digest
from multismolvla.stack.worlds import WORLDS
from multismolvla.streams import load_stream_table

SIZE = {"height": 32, "width": 32, "rate_hz": 15.0, "frame_id": "top_camera_optical_frame"}


@pytest.fixture
def streams(tmp_path):
    file = tmp_path / "streams.yaml"
    table = [{"name": kind, "kind": kind, **SIZE} for kind in ("rgb", "depth", "thermal")]
    file.write_text(yaml.safe_dump({"streams": table}))
    return file


@pytest.fixture
def checkpoint(tmp_path, streams):
    """Looks at two of the robot's three streams."""
    seen = tuple(load_stream_table(streams))[:2]
    preset = tiny(seen, SO101)
    config = dataclasses.replace(preset, text=dataclasses.replace(preset.text, vocab_size=1024))
    torch.manual_seed(0)
    folder = tmp_path / "checkpoint"
    tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
    save_checkpoint(
        folder, MultiSmolVLA(config, KINEMATICS), config, tokenizer, Normalizer(config, KINEMATICS)
    )
    return folder


@pytest.fixture
def evaluate(tmp_path, streams):
    def run(*arguments: str) -> int:
        common = ["--tasks", "red_cube_in_bin", "--episodes-per-task", "1", "--workers", "1"]
        files = ["--streams", str(streams), "--out", str(tmp_path / "out")]
        return main(["evaluate", *common, *files, *arguments])

    return run


@pytest.fixture
def short(monkeypatch):
    """Episodes of a second and a half; not in other processes."""
    monkeypatch.setattr(closed_loop, "DEFAULT_MAX_STEPS", {"object": 45})


def lines(tmp_path) -> list[dict]:
    text = (tmp_path / "out" / "outcomes.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_checkpoint_is_evaluated_and_the_rest_is_done_later(
    tmp_path, checkpoint, evaluate, short, capsys
):
    policies = ["--policies", str(checkpoint)]
    assert evaluate(*policies, "--conditions", "clean", "drop:rgb") == 0
    assert evaluate(*policies, "--conditions", "clean", "drop:rgb", "drop:thermal") == 0
    done = lines(tmp_path)
    assert [line["condition"] for line in done] == ["clean", "drop:rgb", "drop:thermal"]
    assert all(line["policy"] == with_digest(str(checkpoint)) for line in done)
    assert all(line["policy_error"] == "" and line["inferences"] >= 1 for line in done)
    assert done[1]["masked_after_s"] == {"rgb": 0.0}
    # The policy does not look at the thermal camera: its loss is no damage.
    assert done[2]["masked_after_s"] == {}
    assert done[2]["jerk_rad_s3"] == done[0]["jerk_rad_s3"] != done[1]["jerk_rad_s3"]
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| `drop:thermal` | 0 % |" in report
    for file in ("heat_map.png", "failures.mp4"):
        assert (tmp_path / "out" / file).stat().st_size > 1000
    assert "0.0% success over 3 episodes" in capsys.readouterr().out


def test_parallel_processes_give_the_same_outcomes(tmp_path, evaluate):
    both = [
        "--policies",
        "expert",
        "--conditions",
        "clean",
        "--execution",
        "synchronous",
        "asynchronous",
    ]
    assert evaluate(*both) == 0
    alone = lines(tmp_path)
    assert [line["execution"] for line in alone] == ["synchronous", "asynchronous"]
    assert all(line["success"] for line in alone)
    (tmp_path / "out" / "outcomes.jsonl").unlink()
    assert evaluate(*both, "--workers", "2") == 0
    assert sorted(lines(tmp_path), key=str) == sorted(alone, key=str)


@dataclasses.dataclass
class Listed:
    task: object
    condition: str
    seed: int


def test_a_list_of_episodes_from_elsewhere_is_run_and_continued(
    tmp_path, streams, short, monkeypatch, capsys
):
    world = WORLDS["tabletop"]
    tasks = {name: world.find(name) for name in ("red_cube_in_bin", "cube_on_plate")}
    episodes = [
        Listed(tasks["red_cube_in_bin"], "plus_fog-7:rgb", 3),
        Listed(tasks["cube_on_plate"], "plus_fog-7:rgb", 3),
        Listed(tasks["red_cube_in_bin"], "noise-2:rgb", 4),
    ]
    lists = {"odd": lambda: episodes}
    monkeypatch.setitem(WORLDS, "tabletop", dataclasses.replace(world, lists=lists))
    files = ["--streams", str(streams), "--out", str(tmp_path / "out"), "--workers", "1"]
    command = ["evaluate", "--policies", "expert", "--plus", "odd", *files]
    command += ["--tasks", "red_cube_in_bin", "--all-streams", "--no-clips"]
    assert main(command) == 0
    done = [(line["condition"], line["task"], line["seed"]) for line in lines(tmp_path)]
    assert done == [("plus_fog-7:rgb", "red_cube_in_bin", 3), ("noise-2:rgb", "red_cube_in_bin", 4)]
    capsys.readouterr()
    assert main(command) == 0
    assert "all 2 episodes are there already" in capsys.readouterr().out
    assert main([*command, "--seed", "3"]) == 1
    assert "--seed cannot be given with --plus" in capsys.readouterr().err
    assert main([*command[:4], "even", *files]) == 1
    assert "--plus is 'even'; tabletop has odd" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (
            ["--policies", "nowhere"],
            "policy is 'nowhere', which no installed package offers; known: expert",
        ),
        (["--conditions", "dirty"], "condition is 'dirty'"),
        (["--tasks", "dance"], "unknown task 'dance'"),
        (["--episodes-per-task", "0"], "--episodes-per-task is 0; expected 1 or more"),
        (["--latency-ms", "-5"], "--latency-ms is -5; expected 0 or more"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(evaluate, capsys, arguments, part):
    assert evaluate(*arguments) == 1
    error = capsys.readouterr().err
    assert part in error and error.count("\n") == 1


def test_episodes_of_another_robot_are_not_mixed_in(evaluate, short, capsys):
    clean = ["--policies", "expert", "--conditions", "clean"]
    assert evaluate(*clean) == 0
    assert evaluate(*clean, "--all-streams") == 1
    assert "made with another --all-streams; choose another --out" in capsys.readouterr().err


def test_a_checkpoint_that_was_trained_on_has_another_name(checkpoint):
    before = with_digest(str(checkpoint))
    assert without_digest(before) == str(checkpoint) and with_digest(str(checkpoint)) == before
    file = checkpoint / "multismolvla.json"
    file.write_text(file.read_text() + "\n")
    assert with_digest(str(checkpoint)) != before
    assert without_digest("expert") == with_digest("expert") == "expert"
