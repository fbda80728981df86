"""LIBERO's four suites of ten tasks: names, instructions, files, horizons."""

from __future__ import annotations

import difflib
import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multismolvla.sim.libero.package import load

# Suite -> steps of an episode, as the field runs them (LeRobot's `envs/libero.py`).
HORIZONS = {"spatial": 280, "object": 280, "goal": 300, "long": 520}
# As LIBERO names them: its `libero_10` is the suite of long tasks.
FOLDERS = {suite: f"libero_{suite}" for suite in HORIZONS} | {"long": "libero_10"}
SUITES = tuple(HORIZONS)
DEFAULT_TASK = "pick up the alphabet soup and place it in the basket"
# Every task has this many official places, and episode k begins in place k.
INIT_STATES = 50


@dataclass(frozen=True)
class LiberoTask:
    """One task of the benchmark.

    Attributes:
        suite: `spatial`, `object`, `goal` or `long`.
        index: in LIBERO's own order, 0 to 9.
        name: LIBERO's, which is its file's.
        instruction: what the policy gets, as LIBERO's benchmark gives it.
    """

    suite: str
    index: int
    name: str
    instruction: str

    @property
    def id(self) -> str:
        """Short name, `object/0`."""
        return f"{self.suite}/{self.index}"

    @property
    def horizon(self) -> int:
        """Steps of an episode."""
        return HORIZONS[self.suite]

    @property
    def bddl_file(self) -> Path:
        """Objects, regions, start and goal of the task."""
        return _folder("bddl_files") / FOLDERS[self.suite] / f"{self.name}.bddl"

    def init_states(self) -> np.ndarray:
        """(50, n) float64 the official places: time, positions and velocities of everything."""
        file = _folder("init_files") / FOLDERS[self.suite] / f"{self.name}.pruned_init.npz"
        with np.load(file, allow_pickle=False) as content:
            return content["states"]


def place_of(state: np.ndarray) -> str:
    """Digest of a place (n,): time, positions and velocities of everything, to a tenth of a mm."""
    # The time is no part of a place; minus zero is zero.
    return hashlib.sha256((np.round(state[1:], 4) + 0.0).tobytes()).hexdigest()[:16]


@functools.cache
def official_places() -> frozenset[str]:
    """Digests of all 2000 official places, which are for testing only.

    Raises:
        LiberoMissing: the wheels are not there.
    """
    return frozenset(place_of(state) for task in libero_tasks() for state in task.init_states())


def _folder(name: str) -> Path:
    return Path(load("libero.libero").__file__).parent / name


@functools.cache
def libero_tasks() -> tuple[LiberoTask, ...]:
    """All 40 tasks, suite by suite.

    Raises:
        LiberoMissing: the wheels are not there.
    """
    task_map = load("libero.libero.benchmark.libero_suite_task_map").libero_task_map
    return tuple(
        LiberoTask(suite, index, name, _instruction(name))
        for suite in SUITES
        for index, name in enumerate(task_map[FOLDERS[suite]])
    )


def _instruction(name: str) -> str:
    """LIBERO's rule: the name in words, without the scene where it begins with one."""
    return re.sub(r"^[A-Z_]+SCENE\d+_", "", name).replace("_", " ")


def find_libero_task(text: str) -> LiberoTask:
    """The task with this id (`object/0`), name or instruction.

    An instruction that two suites share means the first of them.

    Raises:
        ValueError: there is none; the message names the closest ones.
        LiberoMissing: the wheels are not there.
    """
    wanted = " ".join(text.lower().split())
    by_name: dict[str, LiberoTask] = {}
    for task in libero_tasks():
        for name in (task.id, task.name.lower(), task.instruction):
            by_name.setdefault(name, task)
    if wanted in by_name:
        return by_name[wanted]
    close = difflib.get_close_matches(wanted, by_name, n=3, cutoff=0.4)
    hint = (
        "did you mean " + " or ".join(f"'{name}'" for name in close)
        if close
        else (f"expected {', '.join(SUITES)}, a slash and 0 to 9, or an instruction")
    )
    raise ValueError(f"LIBERO has no task '{text}'; {hint}")


def suite_tasks(suite: str) -> tuple[LiberoTask, ...]:
    """The ten tasks of a suite.

    Raises:
        ValueError: there is no such suite.
        LiberoMissing: the wheels are not there.
    """
    if suite not in SUITES:
        raise ValueError(f"LIBERO has no suite '{suite}'; expected {', '.join(SUITES)}")
    return tuple(task for task in libero_tasks() if task.suite == suite)
