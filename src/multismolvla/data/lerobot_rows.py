"""The rows of a LeRobot data set's episodes, in the order of time, in parts that hold together.

A chunk of actions must not run across a gap in time, into another instruction, or over a row
without numbers. An episode that has one is therefore read as several parts, each an episode of its
own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multismolvla.data.lerobot_info import SetInfo
from multismolvla.data.lerobot_layout import ACTION, INFO, STATE, TASKS
from multismolvla.data.lerobot_tables import (
    FETCH,
    EpisodeIssues,
    format_path,
    numbers,
)
from multismolvla.doctor import Finding, error, warning
from multismolvla.one_line import one_line

_INDICES = ("episode_index", "frame_index", "timestamp", "task_index")
# In periods: a row further than this from the one before is behind a gap, a nearer one is a repeat.
_GAP, _REPEAT = 1.5, 0.5
# Stamps this near to even ones, in seconds, are even; those of LeRobot are 32-bit floats.
_EVEN_S = 1e-3
# How far the rate of the stamps may be from `fps`.
_RATE_TOLERANCE = 0.1
_LEAST_ROWS = 2
_BY_RATE = ("timestamp", "rows")


@dataclass(frozen=True)
class Part:
    """Rows of one episode that follow each other at the set's rate, with one instruction.

    Attributes:
        entry: of the episode, in the table of episodes.
        name: `000003`, or `000003-1` for the second part of episode 3.
        file: of the rows, within the data set.
        rows: (n,) places among the episode's rows in the file, in the order of time.
        times_s: (n,) stamps, counted as in the episode's videos.
        instruction: the task.
    """

    entry: Mapping[str, Any]
    name: str
    file: str
    rows: np.ndarray
    times_s: np.ndarray
    instruction: str

    @property
    def episode(self) -> int:
        return self.entry["episode_index"]


@dataclass
class Range:
    """What a column's numbers reach, over all rows that are finite: (width,) each."""

    lowest: np.ndarray
    highest: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Range:
        finite = np.where(np.isfinite(values), values, np.nan)
        if not len(finite) or np.isnan(finite).all():
            width = values.shape[1]
            return cls(np.full(width, np.inf), np.full(width, -np.inf))
        # A column without any number would be a warning of numpy's.
        return cls(
            np.where(np.isfinite(values), values, np.inf).min(0),
            np.where(np.isfinite(values), values, -np.inf).max(0),
        )

    def join(self, other: Range) -> Range:
        return Range(np.minimum(self.lowest, other.lowest), np.maximum(self.highest, other.highest))


def read_rows(
    folder: Path,
    info: SetInfo,
    entries: Iterable[Mapping[str, Any]],
    tasks: Mapping[int, str],
    whole: bool = False,
) -> tuple[list[Part], dict[str, Range], list[Finding]]:
    """Parts in the order of the entries, ranges of state and action, and what is wrong or odd.

    Args:
        whole: episodes are ours: nothing divides them, and what would is an error.
    """
    by_file: dict[str, list[Mapping[str, Any]]] = {}
    order = {}
    for entry in entries:
        order[entry["episode_index"]] = len(order)
        by_file.setdefault(format_path(info.data_path, entry, "data"), []).append(entry)
    found: list[Finding] = []
    issues = EpisodeIssues()
    parts: list[Part] = []
    ranges: dict[str, Range] = {}
    steps = []
    for name, here in by_file.items():
        columns = _columns(folder, name, info, found)
        if columns is None:
            continue
        for key in (STATE, ACTION):
            reach = Range.of(columns[key])
            ranges[key] = ranges[key].join(reach) if key in ranges else reach
        owner = columns["episode_index"]
        by_episode = np.argsort(owner, kind="stable")
        ordered = owner[by_episode]
        listed = [entry["episode_index"] for entry in here]
        strange = np.setdiff1d(ordered, listed)
        if len(strange):
            named = ", ".join(str(int(number)) for number in strange[:5])
            what = f"has rows of episode {named}, which the table of episodes has not in this file"
            found.append(warning(name, "episode_index", what, "they are not read; " + FETCH))
        for entry in here:
            start, stop = np.searchsorted(
                ordered, [entry["episode_index"], entry["episode_index"] + 1]
            )
            chosen = {key: values[by_episode[start:stop]] for key, values in columns.items()}
            reading = _Reading(entry, name, info, tasks, chosen, issues, whole)
            parts += reading.parts()
            steps.append(reading.steps_s)
    found += issues.findings()
    rate = _rate_problem(info.fps, np.concatenate(steps)) if steps else None
    if rate is not None:
        # By the wrong rate, every step is a gap or a repeat.
        found = [finding for finding in found if finding.key not in _BY_RATE]
        found.insert(0, rate)
    parts.sort(key=lambda part: order[part.episode])
    return parts, ranges, found


def _rate_problem(fps: float, steps_s: np.ndarray) -> Finding | None:
    """Where most rows are another time apart than `fps` says."""
    typical_s = float(np.median(steps_s)) if len(steps_s) else 1.0 / fps
    if typical_s > 0 and abs(typical_s * fps - 1) <= _RATE_TOLERANCE:
        return None
    rate = f"{1 / typical_s:.3g} rows a second" if typical_s > 0 else "standing still"
    what = f"is {fps:g}; the timestamps are {typical_s:.3g} s apart ({rate})"
    fix = "write the rate of the recording there; LeRobot looks frames up by it"
    return error(INFO, "fps", what, fix)


def _columns(
    folder: Path, name: str, info: SetInfo, found: list[Finding]
) -> dict[str, np.ndarray] | None:
    """The columns that every data set has, each (rows,), and state and action (rows, width)."""
    try:
        file = pq.ParquetFile(folder / name)
        there = [key for key in (*_INDICES, STATE, ACTION) if key in file.schema_arrow.names]
        missing = [key for key in ("episode_index", STATE, ACTION) if key not in there]
        if missing:
            has = ", ".join(file.schema_arrow.names)
            found += [error(name, key, f"is missing; the file has {has}") for key in missing]
            return None
        table = file.read(columns=there)
    except FileNotFoundError:
        found.append(error(name, "", "is missing; the table of episodes names it", FETCH))
        return None
    except (OSError, ValueError, pa.ArrowException) as unreadable:
        found.append(error(name, "", f"cannot be read: {one_line(unreadable)}", FETCH))
        return None
    columns = {}
    for key in there:
        try:
            values = numbers(table[key])
        except ValueError as wrong:
            found.append(error(name, key, wrong))
            return None
        if key in _INDICES:
            if values.shape[1] != 1:
                found.append(error(name, key, f"has {values.shape[1]} numbers a row; expected 1"))
                return None
            columns[key] = values[:, 0].astype(np.float64)
            continue
        shape = info.features[key].shape if key in info.features else ()
        if shape and shape != values.shape[1:]:
            what = f"has {values.shape[1]} numbers a row; {INFO} says {shape[0]}"
            found.append(error(name, key, what))
            return None
        columns[key] = values.astype(np.float64)
    if not np.isfinite(columns["episode_index"]).all():
        found.append(error(name, "episode_index", "is null in some rows", FETCH))
        return None
    return columns


class _Reading:
    """The rows of one episode."""

    def __init__(
        self,
        entry: Mapping[str, Any],
        file: str,
        info: SetInfo,
        tasks: Mapping[int, str],
        columns: Mapping[str, np.ndarray],
        issues: EpisodeIssues,
        whole: bool,
    ) -> None:
        self._entry, self._file, self._fps, self._tasks = entry, file, info.fps, tasks
        self._columns, self._issues, self._whole = columns, issues, whole
        self._number = entry["episode_index"]
        # Between the rows, for the rate of the whole set.
        self.steps_s = np.zeros(0)

    def parts(self) -> list[Part]:
        count = len(self._columns["episode_index"])
        if count != self._entry["length"]:
            what = "has another number of rows than its 'length' says"
            detail = f"{count} rows, length {self._entry['length']}"
            self._issues.error(self._number, self._file, "length", what, detail, FETCH)
            return []
        order = self._order(count)
        times_s = None if order is None else self._times_s(order)
        if times_s is None:
            return []
        texts = self._instructions(order)
        if texts is None:
            return []
        usable = self._usable(order)
        breaks = self._gaps(order, times_s) | self._changes(texts)
        made = [
            (start, stop)
            for start, stop in _stretches(usable, breaks)
            if stop - start >= min(_LEAST_ROWS, count)
        ]
        if not made:
            what = "has no two rows that follow each other and have numbers"
            self._issues.error(self._number, self._file, "rows", what)
        name = f"{self._number:06d}"
        return [
            Part(
                self._entry,
                name if len(made) == 1 else f"{name}-{number}",
                self._file,
                order[start:stop],
                times_s[start:stop],
                texts[start],
            )
            for number, (start, stop) in enumerate(made)
        ]

    def _order(self, count: int) -> np.ndarray | None:
        """(rows,) places in the order of time; None where that is not known."""
        key = "frame_index" if "frame_index" in self._columns else "timestamp"
        if key not in self._columns:
            return np.arange(count)
        values = self._columns[key]
        if not np.isfinite(values).all():
            detail = f"row {int(np.argmin(np.isfinite(values)))}"
            self._problem(key, "is null or NaN in some rows", detail, FETCH)
            return None
        order = np.argsort(values, kind="stable")
        if key == "frame_index":
            repeated = np.flatnonzero(np.diff(values[order]) == 0)
            if len(repeated):
                detail = f"{values[order][repeated[0]]:.0f}"
                self._problem(key, "has a number twice", detail, FETCH)
                return None
        if np.any(np.diff(values) < 0):
            what = f"the rows are out of order; they are read in the order of {key}"
            self._issues.warning(self._number, self._file, key, what)
        return order

    def _times_s(self, order: np.ndarray) -> np.ndarray | None:
        even = np.arange(len(order)) / self._fps
        if "timestamp" not in self._columns:
            what = f"is missing; rows are taken for even, {self._fps:g} a second"
            self._issues.warning(self._number, self._file, "timestamp", what)
            return even
        times_s = self._columns["timestamp"][order]
        if not np.isfinite(times_s).all():
            detail = f"row {int(np.argmin(np.isfinite(times_s)))}"
            self._problem("timestamp", "is null or NaN in some rows", detail, FETCH)
            return None
        self.steps_s = np.diff(times_s)
        start_s = times_s[0] if abs(times_s[0]) > _EVEN_S else 0.0
        even = start_s + np.rint((times_s - start_s) * self._fps) / self._fps
        return np.where(np.abs(times_s - even) < _EVEN_S, even, times_s)

    def _instructions(self, order: np.ndarray) -> list[str] | None:
        """Per row; a row without a task has that of its episode, if it is the only one."""
        listed = self._entry.get("tasks")
        only = listed[0] if isinstance(listed, list) and len(listed) == 1 else None
        only = only if isinstance(only, str) and only.strip() else None
        if "task_index" in self._columns:
            indices = self._columns["task_index"][order]
        else:
            indices = np.full(len(order), np.nan)
        if np.isnan(indices).any():
            if only is None:
                detail = f"row {int(np.argmax(np.isnan(indices)))}"
                fix = "write the number of the task there"
                self._problem("task_index", "is null in some rows", detail, fix)
                return None
            what = "is null in some rows; the episode's only task is taken"
            self._issues.warning(self._number, self._file, "task_index", what)
        unknown = [index for index in indices[~np.isnan(indices)] if index not in self._tasks]
        if unknown and self._tasks:
            known = ", ".join(str(index) for index in list(self._tasks)[:5])
            what = f"is not in {TASKS}, which has {known}"
            what += f" and {len(self._tasks) - 5} more" if len(self._tasks) > 5 else ""
            self._problem("task_index", what, f"{unknown[0]:g}")
        if unknown:
            return None
        return [only if np.isnan(index) else self._tasks[int(index)] for index in indices]

    def _usable(self, order: np.ndarray) -> np.ndarray:
        """(rows,) whether state and action are numbers."""
        usable = np.ones(len(order), bool)
        for key in (STATE, ACTION):
            finite = np.isfinite(self._columns[key][order]).all(1)
            usable &= finite
            if finite.all():
                continue
            rows = np.flatnonzero(~finite)
            places = f"{len(rows)} of {len(order)} rows, the first is row {rows[0]}"
            if self._whole:
                self._issues.error(self._number, self._file, key, "is NaN in some rows", places)
                continue
            what = "is NaN, infinite or null in some rows; these are left out"
            self._issues.warning(self._number, self._file, key, what, places)
        return usable

    def _gaps(self, order: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        """(rows,) whether there is a break before the row."""
        breaks = np.zeros(len(order), bool)
        if self._whole or len(order) < 2:
            return breaks
        periods = np.diff(times_s) * self._fps
        far, near = periods > _GAP, periods < _REPEAT
        if far.any():
            row = int(np.argmax(periods))
            detail = (
                f"{int(far.sum())}, the longest {periods[row] / self._fps:.2f} s after row {row}"
            )
            what = "has gaps in time; it is read in parts, and no chunk of actions crosses one"
            self._issues.warning(self._number, self._file, "timestamp", what, detail)
        if near.any():
            row = int(np.argmin(periods))
            detail = f"{int(near.sum())}, {periods[row] / self._fps:+.3f} s after row {row}"
            what = "has stamps that repeat or go back; it is read in parts"
            self._issues.warning(self._number, self._file, "timestamp", what, detail)
        breaks[1:] = far | near
        if "frame_index" in self._columns:
            holes = (np.diff(self._columns["frame_index"][order]) > 1) & ~breaks[1:]
            if holes.any():
                detail = f"{int(holes.sum())}, the first after row {int(np.argmax(holes))}"
                what = "skips numbers: rows are missing; the episode is read in parts"
                self._issues.warning(self._number, self._file, "frame_index", what, detail)
                breaks[1:] |= holes
        return breaks

    def _changes(self, texts: Sequence[str]) -> np.ndarray:
        """(rows,) whether the instruction is another than that of the row before."""
        changes = np.array([False, *(before != text for before, text in pairwise(texts))])
        if changes.any():
            what = "the instruction changes within the episode"
            what += "" if self._whole else "; each stretch is an episode of its own"
            detail = f"{int(changes.sum())} times, first before row {int(np.argmax(changes))}"
            say = self._issues.error if self._whole else self._issues.warning
            say(self._number, self._file, "task_index", what, detail)
        return changes

    def _problem(self, key: str, what: str, detail: str = "", fix: str = "") -> None:
        self._issues.error(self._number, self._file, key, what, detail, fix)


def _stretches(usable: np.ndarray, breaks: np.ndarray) -> list[tuple[int, int]]:
    """Runs of usable rows without a break inside, as (start, stop)."""
    found = []
    start = None
    for row in range(len(usable)):
        if start is not None and (not usable[row] or breaks[row]):
            found.append((start, row))
            start = None
        if usable[row] and start is None:
            start = row
    if start is not None:
        found.append((start, len(usable)))
    return found
