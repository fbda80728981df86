"""The policy bench: what it measures, how it judges, what it does where something is missing."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import cv2
import policy
import pytest
import torch
from beside_lerobot import environment
from beside_lerobot.environment import LeRobotEnvironmentError, lerobot_python
from beside_lerobot.report import LIMIT, Measurement, table, write_picture
from beside_lerobot.rows import (
    Comparison,
    Row,
    Target,
    bfloat16_targets,
)
from beside_lerobot.worker_process import WorkerError, WorkerProcess
from policy import Bench
from safetensors.torch import save_file

from multismolvla.processor import Processor, read_processor

FASTER = Target("speed", 1.4, more_is_better=True)
EXACT = Target("difference", 1e-4)

# Stands in for `worker.py`: takes as long and answers with the actions that it is told to.
FAKE = """
import json, sys
options = json.loads(sys.argv[1])
if options.get("broken"):
    sys.exit("no operators for this processor")
print(json.dumps({"versions": {}}), flush=True)
for number, line in enumerate(sys.stdin):
    wall_s = options["wall_s"] * (1 + number)
    print(json.dumps({"wall_s": wall_s, "processor_s": wall_s, "actions": options["actions"],
                      "peak_memory_bytes": options["peak"]}), flush=True)
"""


class FakeBench(Bench):
    """Starts stand-ins for the models."""

    def _worker(self, name, options):
        log = self._logs / "fake.log"
        return WorkerProcess(name, [sys.executable, "-c", FAKE, json.dumps(options)], {}, log)


@pytest.fixture
def bench(tmp_path) -> FakeBench:
    return FakeBench(threads=1, logs=tmp_path, lerobot=Path(sys.executable))


def row(tmp_path, name, side="ours", wall_s=1.0, actions=((1.0, 2.0),), peak=100, **options) -> Row:
    inputs = tmp_path / "inputs.safetensors"
    save_file({"noise": torch.tensor([[[0.5, 1.5]]])}, inputs)
    worker = {"side": side, "wall_s": wall_s, "actions": actions, "peak": peak}
    worker["broken"] = options.pop("broken", False)
    return Row(name, worker, (inputs,), **options)


def test_speed_memory_and_actions_are_relative_to_lerobot(bench, tmp_path):
    rows = (
        row(tmp_path, "LeRobot", side="lerobot", wall_s=3.0, peak=200),
        row(tmp_path, "ours", wall_s=2.0, actions=((1.0, 2.02),), same_model=True),
    )
    theirs, ours = bench._compare(Comparison("x", rows, rounds=4))
    # The stand-ins get slower round by round, so only pairs of one round give this.
    assert ours.speed == pytest.approx(1.5)
    assert ours.memory == pytest.approx(0.5)
    assert ours.difference == pytest.approx(0.01, rel=1e-4)
    # Of the way from the noise, 0.5, and not of the action, 2.
    assert ours.flow_difference == pytest.approx(0.04, rel=1e-4)
    assert theirs.speed is None and len(theirs.wall_s) == 4


def test_a_model_that_is_another_one_is_not_held_to_lerobots_actions(bench, tmp_path):
    rows = (row(tmp_path, "LeRobot", side="lerobot"), row(tmp_path, "base", actions=((9.0, 9.0),)))
    _, ours = bench._compare(Comparison("x", rows, rounds=1))
    assert ours.difference is None and ours.speed == pytest.approx(1.0)


def test_rows_of_the_same_model_share_a_process(bench, tmp_path):
    shared = [row(tmp_path, name) for name in ("all streams", "few streams")]
    _, second = bench._compare(Comparison("x", tuple(shared), rounds=1))
    # One process answered two warm-ups and the first row before.
    assert second.wall_s == (4.0,)


def test_an_optional_row_that_fails_is_left_out_with_its_reason(bench, tmp_path):
    broken = row(tmp_path, "int8", broken=True, optional=True)
    measured = bench._compare(Comparison("x", (row(tmp_path, "float32"), broken), rounds=1))
    assert [m.name for m in measured] == ["float32"]
    assert "no operators for this processor" in bench.left_out["int8"]


def test_a_precision_that_this_processor_lacks_is_not_tried(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(policy, "is_available", lambda precision: precision == "float32")
    lacking = row(tmp_path, "bfloat16", optional=True)
    lacking.worker["precision"] = "bfloat16"
    measured = bench._compare(Comparison("x", (row(tmp_path, "float32"), lacking), rounds=1))
    assert [m.name for m in measured] == ["float32"]
    assert bench.left_out["bfloat16"].startswith("not on this processor: ")
    (line,) = table(measured, bench.left_out).splitlines()[3:]
    assert line.startswith("| bfloat16 | not on this processor")
    assert line.count("|") == table(measured).splitlines()[0].count("|")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx512_bf16", "amx_bf16"}, {"speed": 3.0, "difference": 1e-2}),
        ({"avx512_bf16"}, {"difference": 1e-2}),
    ],
)
def test_bfloat16_has_to_be_three_times_as_fast_with_amx(flags, expected):
    targets = bfloat16_targets(Processor("x", frozenset(flags)))
    assert {target.quantity: target.limit for target in targets} == expected


def test_a_row_that_every_machine_can_run_may_not_fail(bench, tmp_path):
    comparison = Comparison("x", (row(tmp_path, "float32", broken=True),), rounds=1)
    with pytest.raises(WorkerError, match="float32: no operators"):
        bench._compare(comparison)


@pytest.mark.parametrize(
    ("speed", "difference", "expected"),
    [
        (1.4, 1e-4, [True, True]),
        (1.39, 1.1e-4, [False, False]),
        (None, None, [None, None]),
        (2.0, float("nan"), [True, False]),
    ],
)
def test_targets_are_met_missed_or_unknown(speed, difference, expected):
    m = Measurement("x", (1.0,), (FASTER, EXACT), speed=speed, difference=difference)
    assert [met for _, _, met in m.verdicts()] == expected


def test_the_table_has_a_verdict_beside_each_row():
    missed = Measurement("slow", (1.0, 2.0, 4.0), (FASTER,), speed=1.1)
    lines = table([missed, Measurement("unknown", (0.01,), (FASTER,))]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "2.00 s" in lines[2] and "NOT met" in lines[2]
    assert "10.0 ms" in lines[3] and "not measured" in lines[3]


def test_the_picture_marks_the_longest_time_that_will_do(tmp_path):
    reference = Measurement("LeRobot", (2.0,))
    paint = tuple(int(LIMIT[i : i + 2], 16) for i in (5, 3, 1))

    def marked(*targets) -> int:
        rows = [reference, Measurement("ours", (1.0,), targets, speed=2.0)]
        write_picture(tmp_path / "x.png", [("two cameras", rows)])
        return int((cv2.imread(str(tmp_path / "x.png")) == paint).all(-1).sum())

    assert marked(FASTER) > marked(EXACT)


def test_the_whole_bench_runs_on_tiny_models_without_lerobot(tmp_path, capsys):
    arguments = ["--quick", "--no-lerobot", "--threads", "1", "--rounds", "1"]
    only = ["--only", "2 cameras"]
    assert policy.main([*arguments, "--out", str(tmp_path), *only]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert "siglip float32, 2 cameras" in [row["name"] for row in result["rows"]]
    assert all(row["peak_memory_bytes"] > 0 for row in result["rows"])
    written = (tmp_path / "table.md").read_text()
    assert "siglip float32" in written and "siglip bfloat16" in written
    assert str(read_processor()) in written
    assert result["arithmetic"] == list(read_processor().arithmetic)
    assert (tmp_path / "bench_policy.png").stat().st_size > 0
    assert "not measured" in capsys.readouterr().out
    # Weights and inputs are gone.
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_check_fails_where_a_target_is_not_met(tmp_path, monkeypatch):
    slow = [("x", [Measurement("slow", (1.0,), (FASTER,), speed=1.0)])]
    monkeypatch.setattr(Bench, "run", lambda *_: slow)
    arguments = ["--no-lerobot", "--out", str(tmp_path)]
    assert policy.main(arguments) == 0
    assert policy.main([*arguments, "--check"]) == 1


def test_an_environment_that_cannot_be_made_leaves_lerobot_out(tmp_path, monkeypatch, capsys):
    def fail(_):
        raise LeRobotEnvironmentError("no network")

    monkeypatch.setattr(policy, "lerobot_python", fail)
    parser = argparse.ArgumentParser()
    policy.add_arguments(parser)
    assert policy._lerobot(parser.parse_args([])) is None
    assert capsys.readouterr().err == "LeRobot is left out: no network\n"


def test_the_environment_is_made_once_and_anew_for_other_versions(tmp_path, monkeypatch):
    commands = []

    def make(command, **_):
        commands.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir()

    monkeypatch.setattr(subprocess, "run", make)
    monkeypatch.setattr(environment, "_torch_index", list)
    pins = tmp_path / "pins.txt"
    made = []
    for content in ("lerobot==0.4.4", "lerobot==0.4.4", "lerobot==0.4.5"):
        pins.write_text(content)
        commands.clear()
        made.append((lerobot_python(lambda _: None, pins, tmp_path), len(commands)))
    assert [count for _, count in made] == [3, 0, 3]
    assert made[0][0] == made[1][0] != made[2][0]


def test_a_version_that_cannot_be_had_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def refuse(command, stdout, **_):
        if "pip" in command:
            stdout.write("ERROR: No matching distribution found for lerobot==9\n")
            stdout.flush()
            raise subprocess.CalledProcessError(1, command)
        Path(command[-1]).mkdir()

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(environment, "_torch_index", list)
    pins = tmp_path / "pins.txt"
    pins.write_text("lerobot==9")
    with pytest.raises(LeRobotEnvironmentError, match="No matching distribution found"):
        lerobot_python(lambda _: None, pins, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_without_the_list_of_versions_the_option_is_named(tmp_path):
    with pytest.raises(LeRobotEnvironmentError, match="--lerobot PYTHON"):
        lerobot_python(lambda _: None, tmp_path / "absent.txt", tmp_path)
