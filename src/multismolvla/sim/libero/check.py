"""Check LIBERO's installation: every task loads, its 50 places fit, and it draws a picture.

One line a task, and a contact sheet of all pictures. Exit status 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from multismolvla.sim.libero.cameras import libero_cameras
from multismolvla.sim.libero.package import LiberoMissing
from multismolvla.sim.libero.tasks import INIT_STATES, SUITES, LiberoTask, libero_tasks
from multismolvla.sim.libero.world import LiberoWorld
from multismolvla.sim.offscreen import RenderingError
from multismolvla.streams import Stream, StreamTable

PICTURE_PX = 160
_CAPTION_PX = 76
_TABLE = StreamTable(
    (Stream("agentview/rgb", "rgb", PICTURE_PX, PICTURE_PX, 20.0, "agentview_optical_frame"),)
)
# A scene has light and dark; one grey level everywhere is a camera that sees nothing.
_LEAST_CONTRAST = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/libero/check.png"),
        metavar="PNG",
        help="the contact sheet (default: %(default)s)",
    )


def main(args: argparse.Namespace) -> int:
    """Check all tasks. Exit status 0, or 1 if anything is wrong."""
    try:
        tasks = libero_tasks()
    except LiberoMissing as error:
        print(f"multismolvla libero check: {error}", file=sys.stderr)
        return 1
    world, pictures, wrong = LiberoWorld(), {}, 0
    for task in tqdm(tasks, desc="LIBERO", unit="task"):
        try:
            pictures[task] = check_task(world, task)
            line = "ok"
        except RenderingError as error:
            print(f"multismolvla libero check: {error}", file=sys.stderr)
            return 1
        # Whatever is wrong with a task is a line of the report; the others are still checked.
        except Exception as error:
            wrong += 1
            line = f"WRONG: {type(error).__name__}: {' '.join(str(error).split())}"
        tqdm.write(f"{task.id:10} {task.instruction[:72]:72} {line}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out), contact_sheet(tasks, pictures))
    print(f"{len(tasks) - wrong} of {len(tasks)} tasks are right; pictures in {args.out}")
    return 1 if wrong else 0


def check_task(world: LiberoWorld, task: LiberoTask) -> np.ndarray:
    """Load a task, hold its places against its scene and return a picture (H, W, 3) uint8 RGB.

    Raises:
        ValueError: something does not fit; whatever LIBERO raises comes through too.
    """
    world.load(task)
    states = task.init_states()
    expected = (INIT_STATES, 1 + world.model.nq + world.model.nv)
    if states.shape != expected:
        raise ValueError(f"its places are {states.shape}; its scene needs {expected}")
    if not np.isfinite(states).all():
        raise ValueError("its places hold numbers that are not finite")
    world.start(task, 0)
    if world.success():
        raise ValueError("it is solved before it begins")
    cameras = libero_cameras(world, _TABLE)
    try:
        picture = cameras.render(world.data, _TABLE.names, 0.0)["agentview/rgb"]
    finally:
        cameras.close()
    if picture.std() < _LEAST_CONTRAST:
        raise ValueError("its picture shows nothing")
    return picture


def contact_sheet(
    tasks: tuple[LiberoTask, ...], pictures: dict[LiberoTask, np.ndarray]
) -> np.ndarray:
    """All pictures, a row a suite, each with id and instruction; (H, W, 3) uint8 BGR.

    A task without a picture is grey.
    """
    cells = {suite: [] for suite in SUITES}
    for task in tasks:
        cell = np.full((PICTURE_PX + _CAPTION_PX, PICTURE_PX, 3), 255, np.uint8)
        cell[:PICTURE_PX] = pictures[task][:, :, ::-1] if task in pictures else 128
        lines = [task.id, *textwrap.wrap(task.instruction, width=26)]
        for number, line in enumerate(lines[:6]):
            _write(cell, line, PICTURE_PX + 12 * (number + 1))
        cells[task.suite].append(cell)
    return np.vstack([np.hstack(row) for row in cells.values()])


def _write(cell: np.ndarray, text: str, row: int) -> None:
    font, black = cv2.FONT_HERSHEY_SIMPLEX, (0, 0, 0)
    cv2.putText(cell, text, (3, row), font, 0.33, black, 1, cv2.LINE_AA)
