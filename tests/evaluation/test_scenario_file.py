"""Scenarios as files: what they say, what is wrong with them, and those that are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from multismolvla.faults.fault import JOINT_STATES
from multismolvla.faults.message_faults import Drop
from multismolvla.faults.registry import FAULTS
from multismolvla.faults.scenario_file import ScenarioError, load_scenario
from multismolvla.sim.tasks import find_task
from multismolvla.streams import load_stream_table

CONFIG = Path(__file__).parents[2] / "config"
TABLE = load_stream_table(CONFIG / "streams.yaml")
SHIPPED = sorted((CONFIG / "faults").glob("*.yaml"))
SECOND_NS = 1_000_000_000


@pytest.fixture
def load(tmp_path):
    def write_and_load(text: str):
        file = tmp_path / "made_up.yaml"
        file.write_text(text)
        return load_scenario(file, TABLE, find_task)

    return write_and_load


def test_a_scenario_says_what_its_file_says(load):
    scenario = load(
        """
        description: two of them
        task: cube_on_plate
        seed: 4
        at_least: 2
        faults:
          - {stream: all-rgb, fault: drop, start: 1, duration: 0.5}
          - {stream: rgb, fault: noise, severity: 4, parameters: {sigma: 0.5}, start: 2.5,
             expect: {masked_within_s: 9}}
        expect: {masked_within_s: 0.2, success: false}
        """
    )
    assert (scenario.name, scenario.task, scenario.seed) == ("made_up", "cube_on_plate", 4)
    assert scenario.success is False and scenario.policy == "expert"
    drop, noise = scenario.faults
    assert (drop.end_s, noise.end_s) == (1.5, None)
    assert (drop.expect.masked_within_s, noise.expect.masked_within_s) == (0.2, 9.0)
    # A second after the start of what does not end.
    assert scenario.lasts_s == 3.5

    schedules = scenario.schedules(TABLE, 10 * SECOND_NS)
    assert set(schedules) == {"rgb", "wrist/rgb"}
    first, second = schedules["rgb"].faults
    assert isinstance(first.fault, Drop)
    assert (first.start_ns, first.end_ns) == (11 * SECOND_NS, 11 * SECOND_NS + SECOND_NS // 2)
    assert second.fault.sigma == 0.5 and second.end_ns is None
    assert first.fault.seed != schedules["wrist/rgb"].faults[0].fault.seed


def test_joint_states_can_be_lost(load):
    scenario = load("faults: [{stream: joint_states, fault: drop}]")
    assert set(scenario.schedules(TABLE, 0)) == {JOINT_STATES}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[", "not valid YAML"),
        ("3", "the file is 3; expected keys and values"),
        ("fault: []", "unknown key 'fault'; expected description, task"),
        ("task: dance", "unknown task 'dance'"),
        ("seed: -1", "seed is -1; expected a whole number, 0 or more"),
        ("faults: rgb", "faults is 'rgb'; expected a list"),
        ("faults: [rgb]", "faults[0] is 'rgb'; expected keys and values"),
        ("faults: [{stream: rgb}]", "missing key 'faults[0].fault'"),
        ("faults: [{stream: sonar, fault: drop}]", "faults[0]: unknown stream 'sonar'"),
        ("faults: [{stream: rgb, fault: fog}]", "faults[0]: unknown fault 'fog'"),
        ("faults: [{stream: rgb, fault: nan_depth}]", "nan_depth: kind is 'rgb'; expected depth"),
        ("faults: [{stream: all, fault: glare}]", "glare: kind is 'depth'; expected rgb"),
        ("faults: [{stream: joint_states, fault: noise}]", "noise: kind is 'joint_states'"),
        ("faults: [{stream: rgb, fault: noise, severity: 6}]", "severity is 6; expected 1 to 5"),
        ("faults: [{stream: rgb, fault: noise, parameters: {size: 1}}]", "parameter 'size'"),
        ("faults: [{stream: rgb, fault: drop, start: -2}]", "start is -2; expected a number of"),
        ("faults: [{stream: rgb, fault: drop, start: .nan}]", "start is nan; expected a number"),
        ("faults: [{stream: rgb, fault: drop, duration: long}]", "duration is 'long'; expected"),
        ("expect: {masked: 1}", "unknown key 'expect.masked'; expected masked_within_s"),
        ("expect: {success: 1}", "expect.success is 1; expected true or false"),
        (
            "faults: [{stream: rgb, fault: drop, expect: {recovered_within_s: 1}}]",
            "recovered_within_s is expected, but the fault has no duration",
        ),
    ],
)
def test_a_wrong_file_is_one_clear_line(load, text, part):
    with pytest.raises(ScenarioError) as caught:
        load(text)
    said = str(caught.value)
    assert "made_up.yaml" in said and part in said and "\n" not in said


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(ScenarioError, match=r"nowhere.yaml: cannot read the scenario"):
        load_scenario(tmp_path / "nowhere.yaml", TABLE, find_task)


def test_the_shipped_scenarios_cover_all_streams_and_faults():
    scenarios = [load_scenario(file, TABLE, find_task) for file in SHIPPED]
    assert len(scenarios) >= 25
    broken = {stream for s in scenarios for f in s.faults for stream in f.streams(TABLE)}
    assert broken == {*TABLE.names, JOINT_STATES}
    assert {fault.fault for s in scenarios for fault in s.faults} == set(FAULTS)
    for scenario in scenarios:
        assert scenario.description.endswith("."), scenario.name
        # No weights are needed, and something is expected.
        assert scenario.policy == "expert" and scenario.success is True
