"""Versions of LeRobot data sets: one that is not read is refused, with the way to the right one."""

import importlib.util
from importlib import metadata
from types import SimpleNamespace

import pytest
from made_up_lerobot import edit_info, make_set

from multismolvla.data import lerobot_version
from multismolvla.data.episode import EpisodeError
from multismolvla.data.lerobot_reader import LeRobotReader
from multismolvla.embodiment.so101 import SO101


def refused(folder):
    with pytest.raises(EpisodeError) as refusal:
        LeRobotReader(folder, SO101, {"front": "rgb"})
    return str(refusal.value)


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("v2.1", "codebase_version is v2.1; expected v3.0. Fix: convert a copy: python -m lerobot"),
        ("v2.0", "lerobot.datasets.v21.convert_dataset_v20_to_v21 of LeRobot 0.3.3"),
        ("v1.6", "lerobot.datasets.v2.convert_dataset_v1_to_v2"),
        ("v3.1", "is v3.1; expected v3.0, the newest that is read. Fix: use a newer release"),
        ("v4.0", "the newest that is read"),
        (..., "codebase_version is missing; expected 'v3.0'. Fix: if LeRobot 0.4 or later wrote"),
        (3.0, "codebase_version is 3.0; expected 'v3.0'"),
        ("latest", "codebase_version is 'latest'; expected 'v3.0'"),
    ],
)
def test_every_other_version_has_its_own_way(tmp_path, version, line):
    folder = make_set(tmp_path / "set")
    edit_info(folder, codebase_version=version)
    assert line in refused(folder)


@pytest.mark.parametrize("version", ["v3.0", "3.0", "v3.0.0"])
def test_the_version_that_is_read_has_several_spellings(tmp_path, version):
    folder = make_set(tmp_path / "set")
    edit_info(folder, codebase_version=version)
    assert len(LeRobotReader(folder, SO101, {"front": "rgb"})) == 1


def install(tmp_path, monkeypatch, version, module):
    """Put a LeRobot of a version there, with its converter."""
    place = tmp_path / "site" / "lerobot"
    file = place.joinpath(*module.split(".")[1:]).with_suffix(".py")
    file.parent.mkdir(parents=True)
    file.touch()
    found = SimpleNamespace(submodule_search_locations=[str(place)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    monkeypatch.setattr(metadata, "version", lambda name: version)


@pytest.mark.parametrize(
    ("version", "module", "root"),
    [
        # Up to 0.4.4, the converter appends the name to the root.
        ("0.4.4", "lerobot.datasets.v30.convert_dataset_v21_to_v30", "{above} --repo-id=set"),
        ("0.5.0", "lerobot.datasets.v30.convert_dataset_v21_to_v30", "{set} --repo-id=me/set"),
        ("0.5.1", "lerobot.scripts.convert_dataset_v21_to_v30", "{set} --repo-id=me/set"),
        ("0.6.2", "lerobot.scripts.convert_dataset_v21_to_v30", "{set} --repo-id=me/set"),
    ],
)
def test_the_command_is_that_of_the_lerobot_installed_here(
    tmp_path, monkeypatch, version, module, root
):
    install(tmp_path, monkeypatch, version, module)
    folder = tmp_path / "me" / "set"
    above, _, name = root.partition(" ")
    above = above.format(above=folder.parent, set=folder)
    assert lerobot_version.conversion(folder) == (
        f"python -m {module} {name} --root={above} --push-to-hub=false"
    )


def test_without_lerobot_both_modules_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    line = lerobot_version.conversion(tmp_path / "set")
    assert "python -m lerobot.scripts.convert_dataset_v21_to_v30" in line
    assert "not installed here" in line and "lerobot.datasets.v30" in line
