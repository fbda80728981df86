"""`multismolvla checkpoint check`: one report of all that is wrong, and its exit status."""

import json

import pytest
from lerobot_folder import lerobot_folder

from multismolvla.cli import main


def report(capsys, *arguments):
    status = main(["checkpoint", "check", *map(str, arguments), "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_sound_checkpoint_of_lerobot(tmp_path, capsys):
    status, content = report(capsys, lerobot_folder(tmp_path / "c"))
    assert (status, content["status"], content["findings"]) == (0, "ok", [])
    assert content["facts"]["joints in"] == "degrees"
    assert content["facts"]["streams"] == ["camera1/rgb", "camera2/rgb"]


def test_everything_that_is_wrong_is_in_one_report(tmp_path, capsys):
    config = {"n_obs_steps": 2, "num_steps": 0, "mystery": 1}
    folder = lerobot_folder(tmp_path / "c", config=config, steps=[{"registry_name": "odd"}])
    status, content = report(capsys, folder)
    assert status == 2
    keys = {finding["key"] for finding in content["findings"]}
    assert keys == {"n_obs_steps", "num_steps", "mystery", "steps[0]"}
    assert all(finding["severity"] == "error" for finding in content["findings"])


def test_what_is_only_odd_is_a_warning(tmp_path, capsys):
    folder = lerobot_folder(tmp_path / "c", config={"mystery": None})
    status, content = report(capsys, folder)
    assert (status, content["status"]) == (1, "warning")
    assert main(["checkpoint", "check", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith(f"warning: {folder}/config.json: mystery: is None")
    assert lines[-1] == f"{folder}: 1 warning"


def test_a_question_is_answered_by_an_option(tmp_path, capsys):
    folder = lerobot_folder(tmp_path / "c", "IDENTITY", tensors={})
    status, content = report(capsys, folder)
    assert status == 2 and "policy_units" in content["findings"][0]["fix"]
    assert report(capsys, folder, "--units", "degrees")[0] == 0


@pytest.mark.parametrize("name", ["nothing-here", "small"])
def test_checkpoints_of_this_project(name, capsys):
    status, content = report(capsys, name)
    assert status == (0 if name == "small" else 2)
    assert name != "small" or content["facts"]["format"] == "MultiSmolVLA"
