"""Everything that is wrong or odd in a LeRobot data set, and what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multismolvla.checked_file import json_value
from multismolvla.data import lerobot_layout as layout
from multismolvla.data.lerobot_camera_check import check_cameras
from multismolvla.data.lerobot_set import Given, LeRobotSet, open_set
from multismolvla.data.lerobot_tables import FETCH, EpisodeIssues, format_path
from multismolvla.doctor import Finding, error, warning
from multismolvla.embodiment.description import Embodiment
from multismolvla.one_line import one_line

# Shorter ones are mostly recordings that were broken off.
_SHORT_S = 1.0
# What the statistics may differ from the rows, as a share of their range.
_STATISTICS_SHARE = 0.01
_RECOMPUTE = "recompute the statistics with LeRobot; training there normalises by them"


def check_set(
    folder: Path, embodiment: Embodiment, given: Given
) -> tuple[dict[str, Any], list[Finding]]:
    """What is known of a data set, and what is wrong or odd in it; pictures are hardly decoded."""
    found = open_set(folder, embodiment, given)
    findings = list(found.findings)
    if found.info is not None:
        findings += check_cameras(folder, found.info, found.parts)
        findings += _columns(folder, found)
        findings += _strays(folder, found)
        findings += _places(found)
        findings += _statistics(folder, found, embodiment)
        findings += _motion(found, embodiment)
    return _facts(found), findings


def _facts(found: LeRobotSet) -> dict[str, Any]:
    if found.info is None:
        return {}
    rows = sum(entry["length"] for entry in found.entries)
    cameras = []
    for key in found.info.cameras:
        feature = found.info.features[key]
        size = "x".join(map(str, feature.shape))
        kind = f"depth {feature.dtype}" if feature.depth else feature.dtype
        cameras.append(
            f"{key.removeprefix(layout.CAMERA_PREFIX)} ({kind} {size})".replace(" )", ")")
        )
    return {
        "version": layout.VERSION,
        "robot": found.info.robot_type or "not said",
        "episodes": len(found.entries),
        "read as": len(found.parts),
        "rows": rows,
        "fps": found.info.fps,
        "minutes": round(rows / found.info.fps / 60.0, 1),
        "instructions": len(found.tasks),
        "cameras": cameras or "none",
        "units": found.units or "not known",
    }


def _columns(folder: Path, found: LeRobotSet) -> Iterator[Finding]:
    """Features without a column, and columns without a feature: LeRobot refuses both."""
    wanted = {key for key, about in found.info.features.items() if about.dtype != "video"}
    for name in _data_files(found):
        try:
            there = set(pq.read_schema(folder / name).names)
        except (OSError, pa.ArrowException):
            continue  # Told by the reading of the rows.
        for key in sorted(wanted - there - {layout.STATE, layout.ACTION}):
            if not found.info.features[key].is_camera:
                yield warning(name, key, f"is missing in the rows; {layout.INFO} has it")
        for key in sorted(there - set(found.info.features)):
            yield warning(name, key, f"is no feature of {layout.INFO}; LeRobot refuses the file")


def _data_files(found: LeRobotSet) -> list[str]:
    names = (format_path(found.info.data_path, entry, "data") for entry in found.entries)
    return list(dict.fromkeys(names))


def _strays(folder: Path, found: LeRobotSet) -> Iterator[Finding]:
    """Files that no episode names."""
    named = set(_data_files(found))
    for path in sorted((folder / "data").rglob("*.parquet")):
        name = path.relative_to(folder).as_posix()
        if named and name not in named:
            yield warning(name, "", "is named by no episode; its rows are not read", FETCH)


def _places(found: LeRobotSet) -> Iterator[Finding]:
    """`dataset_from_index` and `dataset_to_index`, by which LeRobot finds an episode's rows."""
    issues = EpisodeIssues()
    start = 0
    for entry in sorted(found.entries, key=lambda entry: entry["episode_index"]):
        stop = start + entry["length"]
        said = entry.get("dataset_from_index"), entry.get("dataset_to_index")
        if None not in said and said != (start, stop):
            detail = f"{said[0]} to {said[1]}, expected {start} to {stop}"
            what = "is not where the lengths of the episodes before put it"
            fix = "LeRobot reads other rows there; convert or record the data set again"
            issues.warning(
                entry["episode_index"],
                layout.EPISODES_FOLDER,
                "dataset_from_index",
                what,
                detail,
                fix,
            )
        start = stop
    yield from issues.findings()


def _statistics(folder: Path, found: LeRobotSet, embodiment: Embodiment) -> Iterator[Finding]:
    try:
        content = json_value((folder / layout.STATS).read_text())
    except OSError as missing:
        yield warning(layout.STATS, "", f"cannot be read: {missing.strerror}", _RECOMPUTE)
        return
    except ValueError as wrong:
        yield warning(layout.STATS, "", one_line(wrong), _RECOMPUTE)
        return
    for key, reach in found.ranges.items():
        about = content.get(key) if isinstance(content, dict) else None
        if not isinstance(about, dict):
            yield warning(layout.STATS, key, "is missing", _RECOMPUTE)
            continue
        for measure, true in (("min", reach.lowest), ("max", reach.highest)):
            where = f"{key}.{measure}"
            try:
                said = np.array(about[measure], np.float64)
            except (KeyError, TypeError, ValueError):
                said = np.array(np.nan)
            if said.ndim == 0:
                yield warning(layout.STATS, where, "is missing or no numbers", _RECOMPUTE)
                continue
            if said.shape != true.shape:
                what = f"has {said.size} numbers; the rows have {true.size}"
                yield error(layout.STATS, where, what, _RECOMPUTE)
                continue
            span = np.maximum(reach.highest - reach.lowest, 1e-6)
            off = ~(np.abs(said - true) <= _STATISTICS_SHARE * span + 1e-4)
            if off.any() and np.isfinite(true).all():
                place = int(np.argmax(off))
                what = f"{said[place]:.5g} in place {place}; the rows have {true[place]:.5g}"
                yield warning(layout.STATS, where, what, _RECOMPUTE)


def _motion(found: LeRobotSet, embodiment: Embodiment) -> Iterator[Finding]:
    """Joints that never move, and episodes too short to be meant."""
    for key, reach in found.ranges.items():
        names = layout.number_names(embodiment, key)
        still = [
            name
            for name, place in zip(names, found.orders[key], strict=False)
            if place < len(reach.lowest) and reach.lowest[place] == reach.highest[place]
        ]
        if still:
            what = f"{', '.join(still)} never changes in any row: is the joint connected?"
            yield warning("data", key, what)
    issues = EpisodeIssues()
    for part in found.parts:
        seconds = len(part.rows) / found.info.fps
        if seconds < _SHORT_S:
            what = f"is shorter than {_SHORT_S:g} s"
            issues.warning(part.episode, part.file, "length", what, f"{seconds:.2f} s")
    yield from issues.findings()
