"""The tables of a LeRobot data set, checked: its tasks, and where its episodes are kept.

Something that is wrong with many episodes in the same way is one finding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multismolvla.data.lerobot_layout import EPISODES_FOLDER, TASK_COLUMN, TASKS
from multismolvla.doctor import ERROR, WARNING, Finding, error
from multismolvla.one_line import one_line

FETCH = "fetch the data set again, or convert it again"


class EpisodeIssues:
    """Collects what is wrong with episodes, the same thing of many episodes once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, str, str], list[tuple[int, str]]] = {}

    def error(
        self, episode: int, file: str, key: str, what: str, detail: str = "", fix: str = ""
    ) -> None:
        """`what` is the same for all episodes, `detail` belongs to this one."""
        self._add(ERROR, episode, file, key, what, detail, fix)

    def warning(
        self, episode: int, file: str, key: str, what: str, detail: str = "", fix: str = ""
    ) -> None:
        self._add(WARNING, episode, file, key, what, detail, fix)

    def _add(self, severity: str, episode: int, file: str, key: str, *rest: str) -> None:
        what, detail, fix = rest
        self._found.setdefault((severity, file, key, what, fix), []).append((episode, detail))

    def findings(self) -> list[Finding]:
        found = []
        for (severity, file, key, what, fix), places in self._found.items():
            first, detail = places[0]
            if len(places) == 1:
                text = f"episode {first}: {what}{detail and f' ({detail})'}"
            else:
                named = ", ".join(str(episode) for episode, _ in places[:5])
                more = f" and {len(places) - 5} more" if len(places) > 5 else ""
                example = f" (episode {first}: {detail})" if detail else ""
                text = f"episodes {named}{more}: {what}{example}"
            found.append(Finding(severity, file, key, text, fix))
        return found


def read_tasks(folder: Path) -> tuple[dict[int, str], list[Finding]]:
    """Instruction by task_index, and what is wrong with the table."""
    try:
        table = pq.read_table(folder / TASKS)
    except (OSError, pa.ArrowException) as unreadable:
        return {}, [error(TASKS, "", f"cannot be read: {one_line(unreadable)}", FETCH)]
    columns = [*_index_columns(table), TASK_COLUMN, "task"]
    names = next((name for name in columns if name in table.column_names), None)
    has = f"the table has {', '.join(table.column_names)}"
    if "task_index" not in table.column_names:
        return {}, [error(TASKS, "task_index", f"is missing; {has}", FETCH)]
    if names is None:
        what = f"is missing: the tasks have no names; {has}"
        return {}, [error(TASKS, "task", what, "write the instruction of each task_index there")]
    tasks: dict[int, str] = {}
    found = []
    pairs = zip(table["task_index"].to_pylist(), table[names].to_pylist(), strict=True)
    for row, (number, name) in enumerate(pairs):
        if not _place(number):
            found.append(error(TASKS, "task_index", f"row {row}: is {number}; expected 0 or more"))
        elif not isinstance(name, str) or not name.strip():
            what = f"task_index {number}: is {name!r}; expected an instruction"
            found.append(error(TASKS, "task", what, "write the instruction there"))
        elif tasks.setdefault(number, name) != name:
            what = f"{number} is '{tasks[number]}' and '{name}'; expected one instruction each"
            found.append(error(TASKS, "task_index", what))
    return tasks, found


def _index_columns(table: pa.Table) -> list[str]:
    """What pandas takes for the index; LeRobot keeps the instructions there."""
    try:
        described = json.loads((table.schema.metadata or {})[b"pandas"])
        return [name for name in described["index_columns"] if isinstance(name, str)]
    except (KeyError, TypeError, ValueError):
        return []


def read_episodes(
    folder: Path, videos: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The rows of the tables of episodes that can be used, without statistics.

    Args:
        videos: keys of cameras whose place in the video files is needed.
    """
    paths = sorted((folder / EPISODES_FOLDER).glob("*/*.parquet"))
    if not paths:
        what = "has no table of episodes; expected chunk-000/file-000.parquet"
        return [], [error(EPISODES_FOLDER, "", what, FETCH)]
    found: list[Finding] = []
    issues = EpisodeIssues()
    entries: list[dict[str, Any]] = []
    seen: set[int] = set()
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            file = pq.ParquetFile(path)
            columns = [c for c in file.schema_arrow.names if not c.startswith("stats/")]
            rows = file.read(columns=columns).to_pylist()
        except (OSError, ValueError, pa.ArrowException) as unreadable:
            found.append(error(name, "", f"cannot be read: {one_line(unreadable)}", FETCH))
            continue
        needed = dict(_needed(videos))
        missing = [key for key in needed if key not in columns]
        for key in missing:
            found.append(error(name, key, "is missing; expected a column of that name", FETCH))
        if missing:
            continue
        for place, entry in enumerate(rows):
            number = entry["episode_index"]
            if not _place(number) or number in seen:
                what = f"row {place}: is {number}" + (" a second time" if number in seen else "")
                found.append(error(name, "episode_index", f"{what}; expected each episode once"))
                continue
            seen.add(number)
            wrong = [key for key, right in needed.items() if not right(entry[key])]
            for key in wrong:
                expected = "seconds" if key.endswith("timestamp") else "a whole number from 0 on"
                expected = "a whole number from 1 on" if key == "length" else expected
                issues.error(number, name, key, f"expected {expected}", f"is {entry[key]}", FETCH)
            if not wrong:
                entries.append(entry)
    if not seen and not found:
        found.append(error(EPISODES_FOLDER, "", "lists no episodes", FETCH))
    return entries, found + issues.findings()


def _needed(videos: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Column -> whether a value is right."""
    yield from (
        ("episode_index", _place),
        ("data/chunk_index", _place),
        ("data/file_index", _place),
    )
    yield "length", lambda value: _place(value) and value > 0
    for key in videos:
        yield f"videos/{key}/chunk_index", _place
        yield f"videos/{key}/file_index", _place
        yield f"videos/{key}/from_timestamp", _seconds


def _place(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and np.isfinite(value) and value >= 0


def numbers(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """(rows, width) of a column of lists, or of plain values where the width is 1.

    A row that is null is NaN throughout.

    Raises:
        ValueError: rows are of different widths, or hold no numbers; one line.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    missing = column.is_null().to_numpy(zero_copy_only=False)
    there = column.drop_null()
    kind = column.type
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    listed = listed or pa.types.is_fixed_size_list(kind)
    flat = there.flatten() if listed else there
    value = flat.type
    if not (
        pa.types.is_integer(value) or pa.types.is_floating(value) or pa.types.is_boolean(value)
    ):
        raise ValueError(f"is of the type {one_line(kind)}; expected numbers")
    width = 1
    if listed:
        widths = (
            np.unique(there.value_lengths().to_numpy(zero_copy_only=False)) if len(there) else [0]
        )
        if len(widths) > 1:
            raise ValueError(
                f"has rows of {widths[0]} and of {widths[-1]} numbers; expected the same of all"
            )
        width = int(widths[0])
    values = flat.to_numpy(zero_copy_only=False).reshape(len(there), width)
    if not missing.any():
        return values
    whole = np.full((len(missing), width), np.nan)
    whole[~missing] = values
    return whole


def format_path(template: str, entry: Mapping[str, Any], prefix: str, **fields: str) -> str:
    """The path of an episode's file: `prefix` is `data` or `videos/KEY`."""
    return template.format(
        chunk_index=entry[f"{prefix}/chunk_index"],
        file_index=entry[f"{prefix}/file_index"],
        **fields,
    )
