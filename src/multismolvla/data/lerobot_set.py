"""A LeRobot data set opened for an arm: everything that can be known without decoding a picture.

What is wrong is collected, not raised, so that one check-up can tell all of it; `LeRobotReader`
refuses at the first error.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multismolvla.checked_file import json_value
from multismolvla.data.lerobot_info import SetInfo, read_info
from multismolvla.data.lerobot_joints import find_units, number_order
from multismolvla.data.lerobot_layout import ACTION, CAMERA_PREFIX, INFO, OWN, STATE
from multismolvla.data.lerobot_rows import Part, Range, read_rows
from multismolvla.data.lerobot_tables import read_episodes, read_tasks
from multismolvla.doctor import ERROR, Finding, error, warning
from multismolvla.embodiment.description import Embodiment
from multismolvla.embodiment.lerobot_units import RADIANS
from multismolvla.one_line import one_line

_OWN_KEYS = {"units": str, "cameras": dict, "objects": list}


@dataclass(frozen=True)
class Given:
    """What nobody but the caller knows of a data set of others; ours say it themselves.

    Attributes:
        units: of joints, one of `lerobot_units.UNITS`; "" to take what leaves no doubt.
        travel_rad: (J,) what each joint turns in its calibration, for -100 to 100.
        joints: names of the numbers in their order, for a set that has none or others.
    """

    units: str = ""
    travel_rad: np.ndarray | None = None
    joints: tuple[str, ...] = ()


NOTHING = Given()


@dataclass
class LeRobotSet:
    """What was found; fields keep their defaults where it could not be read.

    Attributes:
        own: what our own sets say beside LeRobot's files; None for those of others.
        entries: rows of the tables of episodes.
        parts: what can be read as episodes.
        ranges: of the numbers of state and action.
        orders: which of the set's numbers is each of ours.
        units: of joints, one of `lerobot_units.UNITS`; "" where not known.
        findings: what is wrong or odd.
    """

    info: SetInfo | None = None
    own: dict[str, Any] | None = None
    entries: list[dict[str, Any]] = field(default_factory=list)
    tasks: dict[int, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    ranges: dict[str, Range] = field(default_factory=dict)
    orders: dict[str, list[int]] = field(default_factory=dict)
    units: str = ""
    findings: list[Finding] = field(default_factory=list)


def open_set(
    folder: Path, embodiment: Embodiment, given: Given, cameras: Collection[str] | None = None
) -> LeRobotSet:
    """Read a data set's files but for its pictures.

    Args:
        cameras: those that are wanted, by their key or without `observation.images.`; None for all.
    """
    found = LeRobotSet()
    found.info, found.findings = read_info(folder)
    if found.info is None:
        return found
    found.own, problems = _own(folder)
    found.findings += problems
    videos = [
        key
        for key, about in found.info.features.items()
        if about.dtype == "video"
        and (cameras is None or {key, key.removeprefix(CAMERA_PREFIX)} & set(cameras))
    ]
    found.tasks, problems = read_tasks(folder)
    found.findings += problems
    found.entries, problems = read_episodes(folder, videos)
    found.findings += problems
    for key in (STATE, ACTION):
        found.orders[key], problem = number_order(found.info, embodiment, key, given.joints)
        found.findings += [problem] if problem else []
    whole = found.own is not None
    found.parts, found.ranges, problems = read_rows(
        folder, found.info, found.entries, found.tasks, whole
    )
    found.findings += problems
    fitting = [_fits(found, key) for key in (STATE, ACTION)]
    if found.own is not None:
        found.units = found.own["units"]
    elif all(fitting):
        found.units, problems = find_units(
            embodiment, found.ranges, found.orders, given.units, given.travel_rad
        )
        found.findings += problems
    found.findings += _totals(found)
    return found


def refusal(folder: Path, findings: Sequence[Finding]) -> str | None:
    """The first error in one line, None where there is none."""
    errors = [finding for finding in findings if finding.severity == ERROR]
    if not errors:
        return None
    more = len(errors) - 1
    rest = f" ({more} more: multismolvla dataset check {folder})" if more else ""
    return sentence(folder, errors[0]) + rest


def sentence(folder: Path, finding: Finding) -> str:
    """`DIR/meta/info.json: fps is 0; expected rows a second, above 0. Fix: ...`"""
    # Not every finding is about a file of the set.
    place = f"{folder / finding.file}" if "/" in finding.file else f"{folder}: {finding.file}"
    joint = " " if finding.what.startswith(("is ", "has ", "should ")) else ": "
    place += f": {finding.key}{joint}" if finding.key else ": "
    fix = f". Fix: {finding.fix}" if finding.fix else ""
    return f"{place}{finding.what}{fix}"


def _fits(found: LeRobotSet, key: str) -> bool:
    """Whether the column has the numbers that its names promise; a finding where not."""
    reach, order = found.ranges.get(key), found.orders[key]
    where = f"features.{key}"
    if reach is None or any(
        finding.severity == ERROR and finding.key.startswith(where) for finding in found.findings
    ):
        return False
    if len(reach.lowest) == len(order):
        return True
    what = f"is of {len(order)} names, and the rows have {len(reach.lowest)} numbers"
    found.findings.append(error(INFO, f"{where}.names", what))
    return False


def _own(folder: Path) -> tuple[dict[str, Any] | None, list[Finding]]:
    if not (folder / OWN).is_file():
        return None, []
    try:
        content = json_value((folder / OWN).read_text())
    except (OSError, ValueError) as wrong:
        return None, [error(OWN, "", f"cannot be read: {one_line(wrong)}")]
    if not isinstance(content, dict):
        return None, [error(OWN, "", "is no object; expected keys and values")]
    for key, kind in _OWN_KEYS.items():
        if not isinstance(content.get(key), kind):
            return None, [error(OWN, key, f"is {content.get(key)!r}; expected a {kind.__name__}")]
    for key, stream in content["cameras"].items():
        if not isinstance(stream, str):
            what = f"is {stream!r}; expected the name of a stream"
            return None, [error(OWN, f"cameras.{key}", what)]
    if content["units"] != RADIANS:
        what = f"is '{content['units']}'; expected '{RADIANS}'"
        return None, [error(OWN, "units", what)]
    return content, []


def _totals(found: LeRobotSet) -> list[Finding]:
    """Where info.json counts otherwise than the tables; LeRobot goes by it."""
    frames = sum(entry["length"] for entry in found.entries)
    counts = {"total_episodes": len(found.entries), "total_frames": frames}
    counts["total_tasks"] = len(found.tasks)
    return [
        warning(INFO, key, f"is {found.info.totals[key]}; the tables have {count}")
        for key, count in counts.items()
        if count and found.info.totals.get(key, count) != count
    ]
