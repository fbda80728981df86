"""Reading scenarios from YAML; whatever is wrong is one line with file, key and value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from multismolvla.faults.scenario import Expectations, Scenario, ScheduledFault
from multismolvla.sim.tasks import find_task
from multismolvla.streams import StreamTable

# Key of the file -> (type, name of the argument). Times are in seconds.
_SCENARIO = {
    "description": (str, "description"),
    "task": (str, "task"),
    "seed": (int, "seed"),
    "policy": (str, "policy"),
    "at_least": (float, "at_least_s"),
    "faults": (list, "faults"),
    "expect": (dict, "expect"),
}
_FAULT = {
    "stream": (str, "stream"),
    "fault": (str, "fault"),
    "start": (float, "start_s"),
    "duration": (float, "duration_s"),
    "severity": (int, "severity"),
    "parameters": (dict, "parameters"),
    "seed": (int, "seed"),
    "expect": (dict, "expect"),
}
_EXPECT = {
    "masked_within_s": (float, "masked_within_s"),
    "warned_within_s": (float, "warned_within_s"),
    "recovered_within_s": (float, "recovered_within_s"),
    "stays_in_use": (bool, "stays_in_use"),
}
_EXPECT_OF_ALL = {**_EXPECT, "success": (bool, "success")}
_TYPES = {
    str: "a text",
    int: "a whole number",
    float: "a number of seconds",
    bool: "true or false",
    list: "a list",
    dict: "keys and values",
}
# Faults may begin this long before the instruction: the cameras run before it.
_EARLIEST_S = -0.8


class ScenarioError(ValueError):
    """A scenario is wrong; the message names file, key, value and what was expected."""


def find_scenarios(paths: Sequence[Path]) -> list[Path]:
    """The files that are named, and those in the folders that are named.

    Raises:
        ScenarioError: a folder has none.
    """
    files = []
    for path in paths:
        inside = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not inside:
            raise ScenarioError(f"{path}: no scenario (*.yaml) in it")
        files += inside
    return files


def load_scenario(path: str | Path, table: StreamTable) -> Scenario:
    """Read and check a scenario.

    Args:
        table: the streams that can break.

    Raises:
        ScenarioError: the file is missing, is not YAML, or holds an unknown or wrong value.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ScenarioError(f"{path}: cannot read the scenario: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    given = _checked(str(path), content, _SCENARIO)
    try:
        find_task(given.get("task", Scenario.task))
    except ValueError as error:
        raise ScenarioError(f"{path}: {error}") from None
    expect = _checked(f"{path}: expect", given.pop("expect", {}), _EXPECT_OF_ALL)
    success = {"success": expect.pop("success")} if "success" in expect else {}
    faults = tuple(
        _fault(f"{path}: faults[{index}]", entry, Expectations(**expect), table)
        for index, entry in enumerate(given.pop("faults", []))
    )
    return Scenario(path.stem, faults, **given, **success)


def _fault(where: str, entry: object, expect: Expectations, table: StreamTable) -> ScheduledFault:
    given = _checked(where, entry, _FAULT)
    for key in ("stream", "fault"):
        if key not in given:
            raise ScenarioError(f"{where}: missing key '{key}'")
    own = _checked(f"{where}: expect", given.pop("expect", {}), _EXPECT)
    fault = ScheduledFault(**given, expect=replace(expect, **own))
    if fault.duration_s is None and fault.expect.recovered_within_s is not None:
        raise ScenarioError(
            f"{where}: recovered_within_s is expected, but the fault has no duration"
        )
    try:
        for stream in fault.streams(table):
            fault.make(stream, table)
    except ValueError as error:
        raise ScenarioError(f"{where}: {error}") from None
    return fault


def _checked(where: str, entry: object, fields: Mapping[str, tuple[type, str]]) -> dict:
    """The values of an entry by the names of arguments."""
    if not isinstance(entry, dict):
        raise ScenarioError(f"{where}: expected keys and values, got {entry!r}")
    checked = {}
    for key, value in entry.items():
        if key not in fields:
            raise ScenarioError(f"{where}: unknown key '{key}'; expected {', '.join(fields)}")
        expected, name = fields[key]
        least = _EARLIEST_S if key == "start" else 0.0
        if not _fits(value, expected, least):
            from_least = f", {least:g} or more" if expected in (int, float) else ""
            raise ScenarioError(
                f"{where}: {key} is {value!r}; expected {_TYPES[expected]}{from_least}"
            )
        checked[name] = float(value) if expected is float else value
    return checked


def _fits(value: object, expected: type, least: float) -> bool:
    if expected in (int, float):
        types = int if expected is int else (int, float)
        number = isinstance(value, types) and not isinstance(value, bool)
        return number and least <= value < math.inf
    return isinstance(value, expected)
