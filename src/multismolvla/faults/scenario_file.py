"""Reading scenarios from YAML; whatever is wrong is one line with file, key and value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from multismolvla.checked_file import load_checked, yaml_value
from multismolvla.faults.scenario import Expectations, Scenario, ScheduledFault
from multismolvla.streams import StreamTable

# Faults may begin this long before the instruction: the cameras run before it.
EARLIEST_S = -0.8


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


@dataclass(frozen=True)
class _Expect(Expectations):
    """What is expected of each fault, and of the task."""

    success: bool = True

    def __post_init__(self) -> None:
        _at_least(self, 0.0, "masked_within_s", "warned_within_s", "recovered_within_s")


@dataclass(frozen=True)
class _Fault:
    """A fault as the file has it, times in seconds; `expect` has been completed."""

    stream: str
    fault: str
    start: float = 0.0
    duration: float | None = None
    severity: int | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    expect: Expectations = field(default_factory=Expectations)

    def __post_init__(self) -> None:
        _at_least(self, EARLIEST_S, "start")
        _at_least(self, 0.0, "duration", "seed")
        if self.duration is None and self.expect.recovered_within_s is not None:
            raise ValueError("recovered_within_s is expected, but the fault has no duration")

    def scheduled(self) -> ScheduledFault:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return ScheduledFault(
            start_s=values.pop("start"), duration_s=values.pop("duration"), **values
        )


@dataclass(frozen=True)
class _File:
    description: str = ""
    task: str = Scenario.task
    seed: int = Scenario.seed
    policy: str = Scenario.policy
    at_least: float = Scenario.at_least_s
    expect: _Expect = field(default_factory=_Expect)
    faults: tuple[_Fault, ...] = ()

    def __post_init__(self) -> None:
        _at_least(self, 0.0, "seed", "at_least")


def _at_least(values: object, least: float, *keys: str) -> None:
    for key in keys:
        value = getattr(values, key)
        if value is not None and not least <= value < math.inf:
            words = "a whole number" if isinstance(value, int) else "a number of seconds"
            raise ValueError(f"{key} is {value:g}; expected {words}, {least:g} or more")


def load_scenario(
    path: str | Path, table: StreamTable, check_task: Callable[[str], object]
) -> Scenario:
    """Read and check a scenario.

    Args:
        table: the streams that can break.
        check_task: raises ValueError for a task that does not exist.

    Raises:
        ScenarioError: the file is missing, is not YAML, or holds an unknown or wrong value.
    """
    path = Path(path)
    content = load_checked(path, _File, ScenarioError, "the scenario", _parse)
    place = str(path)
    try:
        check_task(content.task)
        faults = []
        for index, entry in enumerate(content.faults):
            place = f"{path}: faults[{index}]"
            fault = entry.scheduled()
            for stream in fault.streams(table):
                fault.make(stream, table)
            faults.append(fault)
    except ValueError as error:
        raise ScenarioError(f"{place}: {error}") from None
    return Scenario(
        path.stem,
        tuple(faults),
        content.description,
        content.task,
        content.seed,
        content.policy,
        content.at_least,
        content.expect.success,
    )


def _parse(text: str) -> Any:
    """The content of a file in which every fault has the common expectations, then its own."""
    content = yaml_value(text)
    if not isinstance(content, dict) or not isinstance(content.get("expect", {}), dict):
        return content
    common = {key: value for key, value in content.get("expect", {}).items() if key != "success"}
    faults = content.get("faults", ())
    for fault in faults if isinstance(faults, list) else ():
        if isinstance(fault, dict) and isinstance(fault.setdefault("expect", {}), dict):
            fault["expect"] = {**common, **fault["expect"]}
    return content
